using System.Diagnostics;
using System.Globalization;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>
/// A real uid with real groups (setpriv(1)) that calls: a relay runs as it, and whoever connects to the relay's socket is, for
/// kmsd's kernel, that account. The relay ends with the test, however that ends.
/// </summary>
internal sealed class Account : IAsyncDisposable
{
    private const string Relay = """
        import os, socket, sys, threading
        own, daemon = sys.argv[1:]
        listener = socket.socket(socket.AF_UNIX); listener.bind(own); listener.listen(64)
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        def copy(source, sink):
            try:
                while data := source.recv(65536): sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError: pass
        print("ready", flush=True)
        while True:
            near, _ = listener.accept()
            far = socket.socket(socket.AF_UNIX); far.connect(daemon)
            for pair in ((near, far), (far, near)): threading.Thread(target=copy, args=pair, daemon=True).start()
        """;

    private readonly Process _relay;
    private readonly string _socket;

    private Account(Process relay, string socket)
    {
        _relay = relay;
        _socket = socket;
    }

    public static async Task<Account> StartAsync(Installation host, uint uid, uint gid, params uint[] groups)
    {
        string folder = Path.Combine(host.Path, "accounts");
        _ = Directory.CreateDirectory(folder);
        File.SetUnixFileMode(folder, (UnixFileMode)0b111_111_111);
        string socket = Path.Combine(folder, $"{uid}.{gid}.{string.Join('.', groups)}");
        string[] ids = [Id("--reuid=", uid), Id("--regid=", gid), groups.Length == 0 ? "--clear-groups" : $"--groups={string.Join(',', groups)}"];
        Process relay = Process.Start(new ProcessStartInfo("setpriv", [.. ids, "/usr/bin/python3", "-I", "-c", Relay, socket, host.Socket])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            WorkingDirectory = "/",
        })!;
        return await relay.StandardOutput.ReadLineAsync() == "ready"
            ? new Account(relay, socket)
            : throw new InvalidOperationException($"Nobody relays as uid {uid}.");
    }

    public Task<Wire> ConnectAsync() => Wire.ConnectAsync(_socket);

    public async ValueTask DisposeAsync()
    {
        _relay.Kill();
        await _relay.WaitForExitAsync();
        _relay.Dispose();
    }

    private static string Id(string option, uint id) => option + id.ToString(CultureInfo.InvariantCulture);
}
