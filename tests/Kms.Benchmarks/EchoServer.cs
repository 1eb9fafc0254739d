using System.Buffers;
using System.IO.Pipelines;
using System.Net.Sockets;
using Kms.Client.Protocol;
using PolyType;
using StreamJsonRpc;
using StreamJsonRpc.Protocol;

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
        await using CopyingHandler handler = new(PipeWriter.Create(stream), PipeReader.Create(stream), formatter);
        using JsonRpc rpc = new(handler);
        rpc.AddLocalRpcTarget(RpcTargetMetadata.FromShape<IEcho>(), new EchoServer(), null);
        rpc.StartListening();
        await rpc.Completion;
    }

    /// <summary>
    /// The library's own handler lets a message read from the pipe's buffer after it was given back for the next read, which
    /// shows as broken JSON as soon as connections share buffers; so each line is copied, which any server must do.
    /// </summary>
    private sealed class CopyingHandler : NewLineDelimitedMessageHandler
    {
        public CopyingHandler(PipeWriter writer, PipeReader reader, IJsonRpcMessageTextFormatter formatter)
            : base(writer, reader, formatter) => NewLine = NewLineStyle.Lf;

        protected override async ValueTask<JsonRpcMessage?> ReadCoreAsync(CancellationToken cancellationToken)
        {
            while (true)
            {
                ReadResult read = await Reader!.ReadAsync(cancellationToken);
                if (read.Buffer.PositionOf((byte)'\n') is SequencePosition end)
                {
                    ReadOnlySequence<byte> line = new(read.Buffer.Slice(0, end).ToArray());
                    Reader.AdvanceTo(read.Buffer.GetPosition(1, end));
                    return Formatter.Deserialize(line);
                }

                if (read.IsCompleted)
                {
                    return null;
                }

                Reader.AdvanceTo(read.Buffer.Start, read.Buffer.End);
            }
        }
    }
}
