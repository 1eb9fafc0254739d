using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Keys;

namespace Kmsd.Audit;

/// <summary>What each key of a store was and did in a month, out of the history: <c>usage.report</c>.</summary>
internal sealed class ReportUsage(CatalogueLedger catalogue, UsageReader usage, Operators operators, TimeProvider clock)
{
    // After it there is no month that could be told.
    private static readonly DateTimeOffset s_last = new(9999, 12, 1, 0, 0, 0, TimeSpan.Zero);

    public async Task<UsageReportResult> RunAsync(Caller caller, UsageReportRequest request, CancellationToken cancellationToken)
    {
        KeyStore store = catalogue.Current.Require(caller, operators, request.Store, StoreAction.ManageStore);
        if (!DateTimeOffset.TryParseExact(
            request.Month, "yyyy-MM", CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset from) || from >= s_last)
        {
            throw new KmsException(KmsErrorCode.InvalidParams, "A month is written as 2026-11.");
        }

        DateTimeOffset to = from.AddMonths(1);
        DateTimeOffset until = to < clock.GetUtcNow() ? to : clock.GetUtcNow();
        Catalogue snapshot = catalogue.Current;
        IReadOnlyDictionary<KeyTag, MonthOfKey> month = await usage.ReadAsync(snapshot.TagsOf(store.Id), from, to, cancellationToken);
        IEnumerable<(KeyTag Tag, string Name, KeyType Type)> known =
        [
            .. snapshot.KeysOf(store).Select(key => (key.Tag, key.Name, key.Type)),
            .. snapshot.Deleted.Values.Where(key => key.StoreId == store.Id).Select(key => (key.Tag, key.Name, key.Type)),
        ];
        return new UsageReportResult
        {
            Store = store.Name,
            Month = request.Month,
            Keys =
            [
                .. known.OrderBy(key => key.Name, StringComparer.OrdinalIgnoreCase).ThenBy(key => key.Tag.Text, StringComparer.Ordinal)
                    .Select(key => Describe(key, month[key.Tag], from, until)).Where(key => key.BillableDays > 0 || key.Calls > 0),
            ],
        };
    }

    private static KeyUsageReport Describe(
        (KeyTag Tag, string Name, KeyType Type) key, MonthOfKey month, DateTimeOffset from, DateTimeOffset until)
    {
        var days = StateDays.Of(month.Changes, from, until);
        return new KeyUsageReport
        {
            Tag = key.Tag.Text,
            Name = key.Name,
            Type = key.Type,
            EnabledDays = Round(days.Enabled),
            DisabledDays = Round(days.Disabled),
            PendingDeletionDays = Round(days.PendingDeletion),
            BillableDays = Round(days.Enabled + days.Disabled + days.PendingDeletion),
            Calls = month.Calls,
        };
    }

    private static double Round(TimeSpan time) => Math.Round(time.TotalDays, 3);
}

/// <summary>How long a key was in each state, out of the changes that its history tells. Pure.</summary>
internal readonly record struct StateDays(TimeSpan Enabled, TimeSpan Disabled, TimeSpan PendingDeletion)
{
    /// <param name="changes">Oldest first, from the key's creation on: the time and the operation.</param>
    /// <param name="from">Where the time that is looked at begins.</param>
    /// <param name="until">Where it ends.</param>
    public static StateDays Of(IReadOnlyList<(DateTimeOffset At, string Operation)> changes, DateTimeOffset from, DateTimeOffset until)
    {
        var days = default(StateDays);
        KeyState state = KeyState.None;
        DateTimeOffset since = from;
        foreach ((DateTimeOffset at, string operation) in changes)
        {
            DateTimeOffset end = at < from ? from : at > until ? until : at;
            days = days.Plus(state, end - since);
            since = end;
            state = After(operation) ?? state;
        }

        return days.Plus(state, until - since);
    }

    /// <summary>The state after a change; null if it changes none.</summary>
    public static KeyState? After(string operation) => operation switch
    {
        "keys.create" or "keys.enable" => KeyState.Enabled,
        "keys.disable" or "keys.cancelDeletion" => KeyState.Disabled,
        "keys.requestDeletion" => KeyState.PendingDeletion,
        "keys.deleteNow" or "deletion.automatic" => KeyState.Deleted,
        _ => null,
    };

    private StateDays Plus(KeyState state, TimeSpan time) => state switch
    {
        KeyState.Enabled => this with { Enabled = Enabled + time },
        KeyState.Disabled => this with { Disabled = Disabled + time },
        KeyState.PendingDeletion => this with { PendingDeletion = PendingDeletion + time },
        _ => this,
    };
}
