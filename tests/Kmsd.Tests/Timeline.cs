using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Rpc;

namespace Kmsd.Tests;

/// <summary>
/// Plays a line of events on a daemon with one key, <c>aged</c>, made at noon of the first day. Times are days.
/// <c>pass 90</c>: time goes by, and the daemon looks at it every half day. <c>jump 90</c>, <c>back 90</c>: somebody sets the clock.
/// <c>off 90</c>: the daemon is stopped for so long. <c>rotate</c>, <c>period 30</c>, <c>disable</c>, <c>enable</c>, <c>request</c>,
/// <c>cancel</c>, <c>release</c>: a manager or the operator does it.
/// </summary>
internal sealed class Timeline : IAsyncDisposable
{
    private const string Name = "aged";
    private const string Format = "yyyy-MM-dd HH:mm";

    private static readonly TimeSpan s_betweenLooks = TimeSpan.FromDays(0.5);

    private readonly Daemon _daemon;
    private readonly DateTimeOffset _made;

    private Timeline(Daemon daemon, DateTimeOffset made)
    {
        _daemon = daemon;
        _made = made;
    }

    public KeyDescription Key => _daemon.Get(Daemon.Manager, Name);

    /// <summary>True once the key is deleted.</summary>
    public bool IsGone => _daemon.Catalogue.Current.Keys.IsEmpty;

    /// <summary>The days on which the versions were made, from the key's first day on.</summary>
    public string VersionDays => string.Join(' ', _daemon.Catalogue.Current.Keys.Values.Single().Versions.Select(version =>
        (version.CreatedAt - _made).TotalDays.ToString(CultureInfo.InvariantCulture)));

    public static string Text(DateTimeOffset time) => time.ToString(Format, CultureInfo.InvariantCulture);

    public static async Task<Timeline> PlayAsync(string firstDay, int period, string events)
    {
        var made = DateTimeOffset.ParseExact(firstDay + " 12:00", Format, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal);
        Timeline timeline = new(await Daemon.StartAsync(start: made), made);
        _ = await timeline._daemon.CreateKeyAsync(
            Daemon.Manager, new CreateKeyRequest { Name = Name, Type = KeyType.Aes256Gcm96, RotationPeriodDays = period });
        foreach (string[] parts in events.Split(';', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select(one => one.Split(' ')))
        {
            await timeline.DoAsync(parts[0], parts.Length > 1 ? double.Parse(parts[1], CultureInfo.InvariantCulture) : 0);
        }

        return timeline;
    }

    public ValueTask DisposeAsync() => _daemon.DisposeAsync();

    private Task DoAsync(string verb, double number)
    {
        Operations operations = _daemon.Operations;
        KeyRequest key = new() { Key = Name };
        return verb switch
        {
            "pass" => PassAsync(TimeSpan.FromDays(number)),
            "jump" => SetAsync(number),
            "back" => SetAsync(-number),
            "off" => StopForAsync(number),
            "rotate" => operations.RotateKey.RunAsync(Daemon.Manager, key, CancellationToken.None),
            "period" => operations.SetRotationPeriod.RunAsync(
                Daemon.Manager, new SetRotationPeriodRequest { Key = Name, Days = (int)number }, CancellationToken.None),
            "disable" => operations.DisableKey.RunAsync(Daemon.Manager, key, CancellationToken.None),
            "enable" => operations.EnableKey.RunAsync(Daemon.Manager, key, CancellationToken.None),
            "request" => operations.RequestDeletion.RunAsync(
                Daemon.Manager, new DeleteKeyRequest { Key = Name }, CancellationToken.None),
            "cancel" => operations.CancelDeletion.RunAsync(Daemon.Manager, key, CancellationToken.None),
            "release" => ReleaseAsync(),
            _ => throw new ArgumentOutOfRangeException(nameof(verb), verb, null),
        };
    }

    private async Task PassAsync(TimeSpan time)
    {
        for (TimeSpan left = time; left > TimeSpan.Zero; left -= s_betweenLooks)
        {
            _daemon.Clock.Advance(left < s_betweenLooks ? left : s_betweenLooks);
            await _daemon.LookAsync();
        }
    }

    /// <summary>The clock on the wall moves; the time that goes by doesn't.</summary>
    private async Task SetAsync(double days)
    {
        _daemon.Clock.Set(_daemon.Clock.GetUtcNow().AddDays(days));
        await _daemon.LookAsync();
    }

    private async Task StopForAsync(double days)
    {
        await _daemon.StopAsync();
        _daemon.Clock.Advance(TimeSpan.FromDays(days));
        await _daemon.ResumeAsync();
        await _daemon.LookAsync();
    }

    private async Task ReleaseAsync()
    {
        _ = await _daemon.Operations.ReleaseDeletions.RunAsync(Daemon.Operator, CancellationToken.None);
        await _daemon.LookAsync();
    }
}
