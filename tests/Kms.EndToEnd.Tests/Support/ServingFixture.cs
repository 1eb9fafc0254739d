namespace Kms.EndToEnd.Tests.Support;

/// <summary>One daemon that serves the tests of a class.</summary>
public sealed class ServingFixture : IAsyncLifetime
{
    internal Installation Host { get; private set; } = null!;

    internal Daemon Daemon { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Host = await Installation.MakeAsync();
        Host.Set("limits", "first_request_timeout", "2s");
        Daemon = await Host.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await Daemon.DisposeAsync();
        await Host.DisposeAsync();
    }
}
