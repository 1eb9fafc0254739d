using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Text;
using Kms.Client;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>
/// Seals every line of a stream again, by batches as large as the daemon takes, a few of them on their way at a time. Empty
/// lines stay empty. The first line that fails ends it.
/// </summary>
internal sealed class ReencryptLines(KmsClient client, KeyDescription key, byte[]? context, byte[]? newContext)
{
    private const int BatchesAhead = 4;
    private const int LongestLine = 64 * 1024;
    private const int GcmOverheadBytes = 12 + 16; // nonce and tag
    private const int RequestBytes = 120 * 1024; // of 128 KiB, some left for what surrounds the items

    private readonly Queue<(Task<string?[]> Answer, long Read)> _underway = new();
    private readonly List<(long Line, ReencryptItem? Item)> _batch = [];
    private int _items;
    private int _plaintextBytes;
    private int _requestBytes;

    /// <summary>The number of lines.</summary>
    /// <exception cref="CommandException">A line isn't a ciphertext, or is refused; it is named.</exception>
    public async Task<long> RunAsync(Stream input, Stream output, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        await using var writer = new StreamWriter(output, new UTF8Encoding(false), 64 * 1024, leaveOpen: true) { NewLine = "\n" };
        var reader = PipeReader.Create(input, new StreamPipeReaderOptions(leaveOpen: true, bufferSize: 64 * 1024));
        long line = 0;
        long read = 0;
        try
        {
            while (await ReadLineAsync(reader, line + 1, giveUp.Token) is (string text, int length))
            {
                line++;
                if (!Fits(text, line, out ReencryptItem? item, out int plaintext, out int request))
                {
                    await SendAsync(read);
                }

                read += length;
                _batch.Add((line, item));
                _items += item is null ? 0 : 1;
                _plaintextBytes += plaintext;
                _requestBytes += request;
            }

            await SendAsync(read);
            while (_underway.Count > 0)
            {
                await WriteAsync();
            }

            await writer.FlushAsync(giveUp.Token);
            return line;
        }
        catch
        {
            // The client is disposed of next, which ends what is still underway; nobody wants its outcome.
            await giveUp.CancelAsync();
            throw;
        }
        finally
        {
            await reader.CompleteAsync();
        }

        async Task SendAsync(long until)
        {
            if (_batch.Count == 0)
            {
                return;
            }

            if (_underway.Count == BatchesAhead)
            {
                await WriteAsync();
            }

            _underway.Enqueue((ReencryptAsync([.. _batch], giveUp.Token), until));
            _batch.Clear();
            (_items, _plaintextBytes, _requestBytes) = (0, 0, 0);
        }

        async Task WriteAsync()
        {
            (Task<string?[]> answer, long until) = _underway.Peek();
#pragma warning disable VSTHRD003 // A console has no context that its own tasks could wait for.
            string?[] lines = await answer;
#pragma warning restore VSTHRD003
            _ = _underway.Dequeue();
            foreach (string? text in lines)
            {
                await writer.WriteLineAsync(text.AsMemory(), giveUp.Token);
            }

            progress?.Report(until);
        }
    }

    /// <summary>Whether a line goes into the batch that is being made; else that has to be sent first.</summary>
    private bool Fits(string text, long line, out ReencryptItem? item, out int plaintext, out int request)
    {
        (item, plaintext, request) = (null, 0, 0);
        if (text.Length == 0)
        {
            return _batch.Count < 8 * Limits.BatchItems;
        }

        if (!VersionedText.TryRead(text, out _, out byte[]? payload))
        {
            throw new CommandException(ExitCode.BadData, $"Line {Text.Of(line)} is not a ciphertext (kms:v1:…); nothing was written.");
        }

        item = new ReencryptItem { Ciphertext = text, Context = context, NewContext = newContext };
        plaintext = key.Type == KeyType.Rsa2048 ? Limits.RsaPlaintextBytes : Math.Max(0, payload.Length - GcmOverheadBytes);
        request = text.Length + (2 * (context?.Length ?? 0)) + (2 * (newContext?.Length ?? 0)) + 64;
        return _items < Limits.BatchItems && _plaintextBytes + plaintext <= Limits.PlaintextBytes
            && _requestBytes + request <= RequestBytes;
    }

    private async Task<string?[]> ReencryptAsync((long Line, ReencryptItem? Item)[] batch, CancellationToken cancellationToken)
    {
        ReencryptItem[] items = [.. batch.Select(entry => entry.Item).OfType<ReencryptItem>()];
        if (items.Length == 0)
        {
            return new string?[batch.Length];
        }

        ReencryptBatchResult result = await client.ReencryptBatchAsync(
            new ReencryptBatchRequest { Key = key.Tag, Items = items }, cancellationToken);
        if (result.Items.Length != items.Length)
        {
            throw new KmsException(KmsErrorCode.Internal, "The daemon answered another number of items than it was given.");
        }

        string?[] lines = new string?[batch.Length];
        int next = 0;
        for (int i = 0; i < batch.Length; i++)
        {
            if (batch[i].Item is not null)
            {
                ReencryptItemResult made = result.Items[next++];
                lines[i] = made.Ciphertext ?? throw Refused(batch[i].Line, made.Error);
            }
        }

        return lines;
    }

    private static CommandException Refused(long line, ItemError? error)
    {
        var failure = Failure.From(
            error?.ToException() ?? new KmsException(KmsErrorCode.Internal, "The daemon answered neither a result nor an error."),
            About.Key);
        return new CommandException(failure.ExitCode, string.Create(
            CultureInfo.InvariantCulture, $"Line {line}: {failure.Sentence} Nothing was written."));
    }

    /// <summary>The next line without its end, and how many bytes it took; null at the end of the input.</summary>
    private static async Task<(string Text, int Length)?> ReadLineAsync(PipeReader reader, long line, CancellationToken cancellationToken)
    {
        while (true)
        {
            ReadResult result = await reader.ReadAsync(cancellationToken);
            ReadOnlySequence<byte> buffer = result.Buffer;
            if (buffer.PositionOf((byte)'\n') is { } end)
            {
                ReadOnlySequence<byte> text = buffer.Slice(0, end);
                (string, int) found = (Encoding.UTF8.GetString(text).TrimEnd('\r'), (int)text.Length + 1);
                reader.AdvanceTo(buffer.GetPosition(1, end));
                return found;
            }

            if (result.IsCompleted)
            {
                (string, int)? last = buffer.IsEmpty ? null : (Encoding.UTF8.GetString(buffer).TrimEnd('\r'), (int)buffer.Length);
                reader.AdvanceTo(buffer.End);
                return last;
            }

            if (buffer.Length > LongestLine)
            {
                throw new CommandException(ExitCode.BadData, $"Line {Text.Of(line)} is too long for a ciphertext; nothing was written.");
            }

            reader.AdvanceTo(buffer.Start, buffer.End);
        }
    }
}
