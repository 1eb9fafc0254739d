using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using Kms.Client;
using Kms.Client.Protocol;

namespace Kmsctl.Commands;

/// <summary>Reads a history that the daemon gives newest first and in pages.</summary>
/// <param name="read">Reads a page: at most so many entries, with smaller numbers than the one given.</param>
internal sealed class HistoryPages(Func<int, long?, Task<HistoryEntryDescription[]>> read)
{
    // Far below what fits into one answer, however long details are.
    private const int ExportedAtOnce = 500;

    /// <summary>The newest so many, newest first.</summary>
    public async Task<List<HistoryEntryDescription>> ReadNewestAsync(int limit, long? before)
    {
        List<HistoryEntryDescription> entries = [];
        while (entries.Count < limit)
        {
            int asked = Math.Min(limit - entries.Count, Limits.HistoryPage);
            HistoryEntryDescription[] page = await read(asked, entries.Count == 0 ? before : entries[^1].Sequence);
            entries.AddRange(page);
            if (page.Length < asked)
            {
                break;
            }
        }

        return entries;
    }

    /// <summary>All that came after a number, oldest first. However many they are, one page at a time is kept.</summary>
    public async IAsyncEnumerable<HistoryEntryDescription> ReadAfterAsync(long last)
    {
        // Back to what is known, page by page, of which only the ends are kept; then forward again over the same pages.
        Stack<long> ends = new();
        HistoryEntryDescription[] page = await read(Limits.HistoryPage, null);
        while (page.Length == Limits.HistoryPage && page[^1].Sequence > last + 1)
        {
            ends.Push(page[0].Sequence + 1);
            page = await read(Limits.HistoryPage, page[^1].Sequence);
        }

        while (true)
        {
            foreach (HistoryEntryDescription entry in page.Reverse().Where(entry => entry.Sequence > last))
            {
                yield return entry;
            }

            if (!ends.TryPop(out long end))
            {
                yield break;
            }

            page = await read(Limits.HistoryPage, end);
        }
    }

    /// <summary>Writes the whole history, oldest first, one JSON object a line.</summary>
    public static async Task ExportAsync(KmsClient client, Stream output, CancellationToken cancellationToken)
    {
        ArrayBufferWriter<byte> lines = new();
        await using Utf8JsonWriter writer = new(lines, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
        long? after = 0;
        while (after is not null)
        {
            ExportHistoryResult page = await client.ExportHistoryAsync(
                new ExportHistoryRequest { After = after, Limit = ExportedAtOnce }, cancellationToken);
            foreach (ExportedHistoryEntry entry in page.Entries)
            {
                writer.Reset();
                JsonSerializer.Serialize(writer, entry, ProtocolJsonContext.Default.ExportedHistoryEntry);
                lines.Write("\n"u8);
            }

            await output.WriteAsync(lines.WrittenMemory, cancellationToken);
            lines.ResetWrittenCount();
            after = page.Next;
        }
    }
}
