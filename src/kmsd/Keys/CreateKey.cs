using System.Collections.Immutable;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Notifications;
using Kmsd.Storage;

namespace Kmsd.Keys;

/// <summary>Makes a key and its first version, sealed by the root key: <c>keys.create</c>.</summary>
internal sealed class CreateKey(
    CatalogueLedger catalogue, GrantBook grants, HistoryLog history, NoticeLog notices, Writer writer, VersionMaker versions, Operators operators,
    KeyLimits limits, KeyProtection defaultProtection, TimeProvider clock)
{
    private const string Operation = "keys.create";

    public async Task<KeyDescription> RunAsync(Caller caller, CreateKeyRequest request, CancellationToken cancellationToken)
    {
        string storeName = request.Store ?? KeyStore.Default;
        KeyStore store = catalogue.Current.Require(caller, operators, storeName, StoreAction.ManageStore);
        Check(request);

        // Only now, since resolving names asks the host's name service.
        ImmutableArray<(Principal Principal, KeyRole Role)> firstGrants = ParseGrants(request.Grants ?? []);
        CheckRoom(store, request.Name);

        Key key = await MakeAsync(request, store, cancellationToken);
        return await writer.ChangeAsync(
            () =>
            {
                KeyStore staged = catalogue.Staged.Require(caller, operators, storeName, StoreAction.ManageStore);
                CheckRoom(staged, request.Name);
                catalogue.Add(key);
                foreach ((Principal principal, KeyRole role) in firstGrants)
                {
                    _ = grants.Add(key.Tag, principal, role, key.CreatedAt);
                }

                _ = history.Append(new HistoryEntry
                {
                    At = key.CreatedAt,
                    Scope = HistoryScope.Key,
                    Operation = Operation,
                    Caller = caller,
                    StoreId = key.StoreId.ToBytes(),
                    Tag = key.Tag,
                    Version = key.CurrentVersion.Number,
                    Detail = GrantEntries.DescribeNew(key, firstGrants),
                });
                foreach (IGrouping<Principal, KeyRole> granted in firstGrants.GroupBy(grant => grant.Principal, grant => grant.Role))
                {
                    notices.Append(catalogue.Staged.To(
                        [granted.Key], key, NoticeKind.GrantAdded, caller, key.CreatedAt, string.Join(", ", granted.Select(role => Wire.KeyRoles[role]))));
                }

                return catalogue.Staged.Describe(catalogue.Staged.Keys[key.Tag], caller);
            },
            cancellationToken);
    }

    private void Check(CreateKeyRequest request)
    {
        KeyText.CheckName(request.Name);
        KeyText.CheckPeriod(request.RotationPeriodDays);
        KeyText.CheckMemo(request.Memo);
        if (request.Grants?.Any(grant => grant is null) == true)
        {
            throw new KmsException(KmsErrorCode.InvalidParams, "A grant is an object with principal and role.");
        }

        if (request.Grants?.Length > limits.GrantsPerKey)
        {
            throw GrantBook.TooMany(limits);
        }
    }

    private static ImmutableArray<(Principal, KeyRole)> ParseGrants(GrantInput[] inputs) =>
        [.. inputs.Select(input => (Principal.Parse(input.Principal), input.Role)).Distinct()];

    private void CheckRoom(KeyStore store, string name)
    {
        if (store.Names.ContainsKey(name))
        {
            throw KeyText.NameInUse(name, store);
        }

        if (store.Names.Count >= limits.KeysPerStore)
        {
            throw new KmsException(KmsErrorCode.LimitExceeded, $"The key store '{store.Name}' holds {limits.KeysPerStore} keys; it may hold no more ([limits] keys_per_store).");
        }
    }

    private async Task<Key> MakeAsync(CreateKeyRequest request, KeyStore store, CancellationToken cancellationToken)
    {
        const long FirstVersion = 1;
        var tag = KeyTag.New();
        DateTimeOffset now = clock.GetUtcNow();
        int period = request.RotationPeriodDays ?? Limits.DefaultRotationPeriodDays;

        Key key = new()
        {
            Tag = tag,
            StoreId = store.Id,
            Name = request.Name,
            Type = request.Type,
            Protection = request.Protection ?? defaultProtection,
            State = KeyState.Enabled,
            Memo = request.Memo ?? "",
            CreatedAt = now,
            StateChangedAt = now,
            RotationPeriodDays = period,
            NextRotationAt = now.AddDays(period),
            Versions = [],
        };
        return key with { Versions = [await versions.MakeAsync(key, FirstVersion, cancellationToken)] };
    }
}
