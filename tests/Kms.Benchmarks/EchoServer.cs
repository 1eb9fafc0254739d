using System.IO.Pipelines;
using System.Net.Sockets;
using Kms.Client.Protocol;
using PolyType;
using StreamJsonRpc;

namespace Kms.Benchmarks;

/// <summary>The contract of the bare server: the messages of <c>crypto.encrypt</c>.</summary>
[JsonRpcContract]
[GenerateShape(IncludeMethods = MethodShapeFlags.PublicInstance)]
internal partial interface IEcho
{
    [JsonRpcMethod("crypto.encrypt", UseSingleObjectParameterDeserialization = true)]
    Task<EncryptResult> EchoAsync(EncryptRequest request, CancellationToken cancellationToken);
}

/// <summary>
/// A bare StreamJsonRpc server with kmsd's formatter and framing, that answers each request at once with a text as long as a
/// ciphertext: what any server built on the library costs at least.
/// </summary>
internal sealed class EchoServer : IEcho
{
    private static readonly string s_answer = "kms:v1:" + Convert.ToBase64String(new byte[32 + 28]);

    public Task<EncryptResult> EchoAsync(EncryptRequest request, CancellationToken cancellationToken) =>
        Task.FromResult(new EncryptResult { Ciphertext = s_answer, KeyVersion = 1 });

    public static async Task RunAsync(string path)
    {
        using Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(64);
        while (true)
        {
            Socket socket = await listener.AcceptAsync();
            _ = ServeAsync(socket);
        }
    }

    private static async Task ServeAsync(Socket socket)
    {
        await Task.Yield();
        await using NetworkStream stream = new(socket, ownsSocket: true);
        using PolyTypeJsonFormatter formatter = new()
        {
            TypeShapeProvider = PolyType.SourceGenerator.TypeShapeProvider_Kms_Benchmarks.Default,
            JsonSerializerOptions = ProtocolJsonContext.Default.Options,
        };
        await using NewLineDelimitedMessageHandler handler = new(PipeWriter.Create(stream), PipeReader.Create(stream), formatter)
        {
            NewLine = NewLineDelimitedMessageHandler.NewLineStyle.Lf,
        };
        using JsonRpc rpc = new(handler);
        rpc.AddLocalRpcTarget(RpcTargetMetadata.FromShape<IEcho>(), new EchoServer(), null);
        rpc.StartListening();
        await rpc.Completion;
    }
}
