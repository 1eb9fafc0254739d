using System.Security.Cryptography;
using Kms.Client.Protocol;

namespace Kms.Client.SealedFiles;

/// <summary>Seals or opens consecutive chunks.</summary>
internal delegate int ChunkWork(AesGcm aes, long number, bool ends, ReadOnlySpan<byte> input, Span<byte> output);

/// <summary>
/// Moves a body from one stream to another in constant memory: a ring of batches, one being read or written while others are
/// sealed or opened on other cores. Output is written in order, and only of batches that are whole.
/// </summary>
internal sealed class BodyPipeline : IAsyncDisposable
{
    private const int ChunksABatch = 8;

    private readonly Stream _input;
    private readonly Stream _output;
    private readonly ChunkWork _work;
    private readonly IProgress<long>? _progress;
    private readonly int _chunks;
    private readonly int _inputChunk;
    private readonly int _outputChunk;
    private readonly Batch?[] _ring = new Batch?[4];
    private readonly SensitiveBytes _key;
    private long _done;

    private BodyPipeline(
        SensitiveBytes key, Stream input, Stream output, ChunkWork work, int inputChunk, int outputChunk, IProgress<long>? progress)
    {
        _key = key;
        _input = input;
        _output = output;
        _work = work;
        _inputChunk = inputChunk;
        _outputChunk = outputChunk;
        _progress = progress;

        // A short file needs no room for a long one.
        _chunks = input.CanSeek
            ? (int)Math.Clamp((input.Length - input.Position) / inputChunk + 1, 1, ChunksABatch)
            : ChunksABatch;
    }

    public static async Task SealAsync(
        SensitiveBytes key, Stream input, Stream output, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        var pipeline = new BodyPipeline(
            key, input, output, BodyChunks.Seal, BodyChunks.PlainBytes, BodyChunks.SealedBytes, progress);
        await using (pipeline.ConfigureAwait(false))
        {
            await pipeline.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    public static async Task OpenAsync(
        SensitiveBytes key, Stream input, Stream output, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        var pipeline = new BodyPipeline(
            key, input, output, BodyChunks.Open, BodyChunks.SealedBytes, BodyChunks.PlainBytes, progress);
        await using (pipeline.ConfigureAwait(false))
        {
            await pipeline.RunAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Batch? batch in _ring)
        {
            if (batch is not null)
            {
                await batch.SettleAsync().ConfigureAwait(false);
                batch.Dispose();
            }
        }
    }

    private async Task RunAsync(CancellationToken cancellationToken)
    {
        int number = 0;
        Batch current = await FillAsync(number, cancellationToken).ConfigureAwait(false);
        for (long chunk = 0; ; chunk += _chunks)
        {
            // Only what follows tells whether a full batch was the last.
            Batch? next = current.IsFull ? await FillAsync(number + 1, cancellationToken).ConfigureAwait(false) : null;
            bool ends = next is null or { Length: 0 };
            current.Start(_work, chunk, ends);
            if (ends)
            {
                break;
            }

            current = next!;
            number = (number + 1) % _ring.Length;
        }

        for (int i = 1; i <= _ring.Length; i++)
        {
            await DrainAsync(_ring[(number + i) % _ring.Length], cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task<Batch> FillAsync(int number, CancellationToken cancellationToken)
    {
        number %= _ring.Length;
        await DrainAsync(_ring[number], cancellationToken).ConfigureAwait(false);
        Batch batch = _ring[number] ??= new Batch(_key, _chunks * _inputChunk, _chunks * _outputChunk);
        batch.Length = await _input.ReadAtLeastAsync(
            batch.Input, batch.Input.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        return batch;
    }

    private async Task DrainAsync(Batch? batch, CancellationToken cancellationToken)
    {
        if (batch is { IsStarted: true })
        {
            ReadOnlyMemory<byte> output = await batch.FinishAsync().ConfigureAwait(false);
            await _output.WriteAsync(output, cancellationToken).ConfigureAwait(false);
            _progress?.Report(_done += batch.Length);
        }
    }

    /// <summary>Some chunks on their way through, with a cipher of their own.</summary>
    private sealed class Batch(SensitiveBytes key, int inputBytes, int outputBytes) : IDisposable
    {
        private readonly byte[] _output = GC.AllocateArray<byte>(outputBytes, pinned: true);
        private readonly AesGcm _aes = new(key.AsSpan(), BodyChunks.TagBytes);
        private Task<int>? _running;

        public byte[] Input { get; } = GC.AllocateArray<byte>(inputBytes, pinned: true);

        public int Length { get; set; }

        public bool IsFull => Length == Input.Length;

        public bool IsStarted => _running is not null;

        public void Start(ChunkWork work, long chunk, bool ends) =>
            _running = Task.Run(() => work(_aes, chunk, ends, Input.AsSpan(0, Length), _output));

        public async Task<ReadOnlyMemory<byte>> FinishAsync()
        {
            Task<int> running = _running!;
            _running = null;
            return _output.AsMemory(0, await running.ConfigureAwait(false));
        }

        /// <summary>Waits until nothing touches the buffers any more.</summary>
        public async Task SettleAsync()
        {
            if (_running is Task running)
            {
                await running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }

        public void Dispose()
        {
            _aes.Dispose();
            CryptographicOperations.ZeroMemory(Input);
            CryptographicOperations.ZeroMemory(_output);
        }
    }
}
