using System.Globalization;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace Kms.EndToEnd.Tests.Support;

/// <summary>A client that knows lines and JSON, and nothing of ours.</summary>
internal sealed class Wire : IAsyncDisposable
{
    private static readonly TimeSpan s_longestAnswer = TimeSpan.FromSeconds(60);

    private readonly StreamReader _reader;
    private int _lastId;

    private Wire(Socket socket)
    {
        Socket = socket;
        Stream = new NetworkStream(socket, ownsSocket: true);
        _reader = new StreamReader(Stream, new UTF8Encoding(false), false, 4096, leaveOpen: true);
    }

    public Socket Socket { get; }

    public NetworkStream Stream { get; }

    public static async Task<Wire> ConnectAsync(string path)
    {
        Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path));
            return new Wire(socket);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    public Task SendAsync(string line) => Stream.WriteAsync(Encoding.UTF8.GetBytes(line + "\n")).AsTask();

    /// <summary>The next line; null when the daemon has hung up.</summary>
    public async Task<JsonElement?> ReceiveAsync()
    {
        using CancellationTokenSource longest = new(s_longestAnswer);
        string? line = await _reader.ReadLineAsync(longest.Token);
        return line is null ? null : JsonElement.Parse(line);
    }

    public async Task<JsonElement> SendAndReceiveAsync(string line)
    {
        await SendAsync(line);
        return await ReceiveAsync() ?? throw new EndOfStreamException("The daemon hung up.");
    }

    /// <summary>The whole answer.</summary>
    public Task<JsonElement> CallAsync(string method, string parameters = "{}") => SendAndReceiveAsync(
        $$"""{"jsonrpc":"2.0","id":{{(++_lastId).ToString(CultureInfo.InvariantCulture)}},"method":"{{method}}","params":{{parameters}}}""");

    public async Task<JsonElement> ResultAsync(string method, string parameters = "{}")
    {
        JsonElement answer = await CallAsync(method, parameters);
        return answer.TryGetProperty("result", out JsonElement result)
            ? result
            : throw new InvalidOperationException($"{method} {parameters}: {answer}");
    }

    /// <summary>The reason of a refusal; "ok" if there is none.</summary>
    public async Task<string> ReasonAsync(string method, string parameters = "{}") => Reason(await CallAsync(method, parameters));

    public static string Reason(JsonElement answer) => answer.TryGetProperty("error", out JsonElement error)
        ? error.GetProperty("data").GetProperty("reason").GetString()!
        : "ok";

    public async Task<string> EncryptAsync(string key, ReadOnlyMemory<byte> plaintext, string? context = null)
    {
        string more = context is null ? "" : $$""","context":"{{Base64(Encoding.UTF8.GetBytes(context))}}" """;
        JsonElement result = await ResultAsync("crypto.encrypt", $$"""{"key":"{{key}}","plaintext":"{{Base64(plaintext.Span)}}"{{more}}}""");
        return result.GetProperty("ciphertext").GetString()!;
    }

    public async Task<byte[]> DecryptAsync(string key, string ciphertext)
    {
        JsonElement result = await ResultAsync("crypto.decrypt", $$"""{"key":"{{key}}","ciphertext":"{{ciphertext}}"}""");
        return result.GetProperty("plaintext").GetBytesFromBase64();
    }

    /// <summary>Makes uid 0 manager of the default store, and a key that it may use.</summary>
    public async Task<string> MakeKeyAsync(string name, string grants = """{"principal":"uid:0","role":"encryptorDecryptor"}""")
    {
        _ = await ResultAsync("members.add", """{"store":"default","principal":"uid:0","role":"manager"}""");
        JsonElement key = await ResultAsync("keys.create", $$"""{"name":"{{name}}","type":"AES256-GCM96","grants":[{{grants}}]}""");
        return key.GetProperty("tag").GetString()!;
    }

    public static string Base64(ReadOnlySpan<byte> bytes) => Convert.ToBase64String(bytes);

    public async ValueTask DisposeAsync()
    {
        _reader.Dispose();
        await Stream.DisposeAsync();
    }
}
