using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace Kms.Client.Tests;

/// <summary>A request as the fake daemon received it.</summary>
internal sealed record FakeCall(FakeConnection Connection, string Method, long Id, JsonElement Params)
{
    public string Text(string name) => Params.GetProperty(name).GetString()!;
}

/// <summary>A daemon on a real socket that answers what a test tells it to.</summary>
internal sealed class FakeDaemon : IAsyncDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("kms-client-");
    private readonly ConcurrentBag<FakeConnection> _connections = [];
    private Socket? _listener;
    private Task _accepting = Task.CompletedTask;

    public FakeDaemon(Func<FakeCall, Task<string?>> answer)
    {
        Answer = answer;
        Start();
    }

    public FakeDaemon(Func<FakeCall, string?> answer)
        : this(call => Task.FromResult(answer(call)))
    {
    }

    /// <summary>Makes the whole answer line, or null for none.</summary>
    public Func<FakeCall, Task<string?>> Answer { get; }

    /// <summary>What is said to every new connection before anything else, after which it is closed.</summary>
    public string? Greeting { get; set; }

    public string Path => System.IO.Path.Combine(_folder.FullName, "s");

    public int Connections => _connections.Count;

    public ConcurrentQueue<FakeCall> Received { get; } = new();

    public ConcurrentQueue<long> Cancelled { get; } = new();

    public static string Result(FakeCall call, string result) => $$"""{"jsonrpc":"2.0","id":{{call.Id}},"result":{{result}}}""";

    public static string Error(FakeCall call, string error) => $$"""{"jsonrpc":"2.0","id":{{call.Id}},"error":{{error}}}""";

    public void Start()
    {
        File.Delete(Path);
        _listener?.Dispose();
        _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _listener.Bind(new UnixDomainSocketEndPoint(Path));
        _listener.Listen();
        _accepting = AcceptAsync(_listener);
    }

    public async Task StopAsync()
    {
        _listener?.Dispose();
        await _accepting;
        foreach (FakeConnection connection in _connections)
        {
            connection.Close();
        }
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _folder.Delete(recursive: true);
    }

    private async Task AcceptAsync(Socket listener)
    {
        try
        {
            while (true)
            {
                Socket socket = await listener.AcceptAsync();
                var connection = new FakeConnection(this, socket);
                _connections.Add(connection);
                _ = Task.Run(connection.ServeAsync);
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            // Stopped.
        }
    }
}

/// <summary>One connection to the fake daemon; requests run side by side.</summary>
internal sealed class FakeConnection(FakeDaemon daemon, Socket socket)
{
    private readonly SemaphoreSlim _writing = new(1);

    /// <summary>The client has hung up, or was hung up on.</summary>
    public bool HasEnded { get; private set; }

    public void Close()
    {
        try
        {
            socket.Shutdown(SocketShutdown.Both);
            socket.Dispose();
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            // It is closed already.
        }
    }

    public async Task ServeAsync()
    {
        try
        {
            await using var stream = new NetworkStream(socket);
            if (daemon.Greeting is string greeting)
            {
                await SendAsync(greeting);
                Close();
                return;
            }

            using var reader = new StreamReader(stream, Encoding.UTF8);
            while (await reader.ReadLineAsync() is string line)
            {
                using var document = JsonDocument.Parse(line);
                JsonElement root = document.RootElement.Clone();
                string method = root.GetProperty("method").GetString()!;
                JsonElement parameters = root.GetProperty("params");
                if (method == "$/cancelRequest")
                {
                    daemon.Cancelled.Enqueue(parameters.GetProperty("id").GetInt64());
                    continue;
                }

                var call = new FakeCall(this, method, root.GetProperty("id").GetInt64(), parameters);
                daemon.Received.Enqueue(call);
                _ = Task.Run(async () =>
                {
                    if (await daemon.Answer(call) is string answer)
                    {
                        await SendAsync(answer);
                    }
                });
            }
        }
        catch (Exception exception) when (exception is IOException or SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // The client, or the test, has closed it.
        }
        finally
        {
            HasEnded = true;
        }
    }

    public async Task SendAsync(string line)
    {
        await _writing.WaitAsync();
        try
        {
            ReadOnlyMemory<byte> rest = Encoding.UTF8.GetBytes(line + "\n");
            while (!rest.IsEmpty)
            {
                rest = rest[await socket.SendAsync(rest)..];
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            // The client is gone.
        }
        finally
        {
            _writing.Release();
        }
    }
}
