using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Kms.Hsm.Tests;

/// <summary>
/// Looks for a secret in every mapping of a process, as it is and with its bytes in reverse (as big numbers are kept). The
/// secret itself is held inverted, so that the search of its own process doesn't find what it searches with.
/// </summary>
internal sealed class MemorySearch
{
    private const int ChunkLength = 1 << 20;

    private readonly byte[] _inverted;
    private readonly byte[] _reversed;

    /// <summary>Of a part of the secret that no public value shares.</summary>
    public MemorySearch(ReadOnlySpan<byte> secret)
    {
        _inverted = new byte[secret.Length];
        for (int i = 0; i < secret.Length; i++)
        {
            _inverted[i] = (byte)(0xff ^ secret[i]);
        }

        _reversed = [.. _inverted.Reverse()];
    }

    /// <summary>Where it was found in this process: the mapping's name or its address.</summary>
    public IReadOnlyList<string> Run() => [.. Run("/proc/self", [this]).Select(found => found.Place)];

    /// <summary>
    /// Which of the secrets were found in another process, and where. If that is undumpable, it takes the rights of root.
    /// </summary>
    public static IReadOnlyList<(MemorySearch Secret, string Place)> Run(int process, IReadOnlyList<MemorySearch> secrets) =>
        Run(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}"), secrets);

    private static unsafe List<(MemorySearch Secret, string Place)> Run(string process, IReadOnlyList<MemorySearch> secrets)
    {
        int overlap = secrets.Max(secret => secret._inverted.Length);
        List<(MemorySearch, string)> found = [];
        byte[] chunk = GC.AllocateArray<byte>(ChunkLength, pinned: true);
        using SafeFileHandle memory = File.OpenHandle(process + "/mem");
        fixed (byte* chunkStart = chunk)
        {
            long own = process == "/proc/self" ? (long)chunkStart : -1;
            foreach (string line in File.ReadAllLines(process + "/maps"))
            {
                string[] fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                string[] range = fields[0].Split('-');
                long start = long.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                long end = range[1].Length > 12 ? start : long.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
                string name = fields.Length > 5 ? fields[5] : fields[0];
                for (long at = start; fields[1][0] == 'r' && at < end; at += ChunkLength - overlap)
                {
                    int length = Read(memory, chunk, at, end);
                    foreach (MemorySearch secret in secrets)
                    {
                        found.AddRange(secret.Hits(chunk.AsSpan(0, length), at, own).Select(hit => (secret, $"{name} +{hit - start:x}")));
                    }

                    chunk.AsSpan(0, length).Clear();
                }
            }
        }

        return found;
    }

    private static int Read(SafeFileHandle memory, byte[] chunk, long at, long end)
    {
        try
        {
            return RandomAccess.Read(memory, chunk.AsSpan(0, (int)Math.Min(ChunkLength, end - at)), at);
        }
        catch (IOException)
        {
            // Mappings such as [vvar] can't be read.
            return 0;
        }
    }

    private List<long> Hits(ReadOnlySpan<byte> chunk, long at, long own)
    {
        List<long> hits = [];
        foreach (byte[] inverted in new[] { _inverted, _reversed })
        {
            // Three bytes aren't the secret, but let the search skip quickly.
            ReadOnlySpan<byte> start = [Plain(inverted, 0), Plain(inverted, 1), Plain(inverted, 2)];
            int i = 0;
            for (int next; (next = chunk[i..].IndexOf(start)) >= 0 && i + next + inverted.Length <= chunk.Length; i++)
            {
                i += next;
                bool isOwn = own >= 0 && at + i >= own - inverted.Length && at + i < own + ChunkLength;
                if (!isOwn && IsAt(chunk[i..], inverted))
                {
                    hits.Add(at + i);
                }
            }
        }

        return hits;
    }

    private static bool IsAt(ReadOnlySpan<byte> chunk, byte[] inverted)
    {
        for (int i = 0; i < inverted.Length; i++)
        {
            if (chunk[i] != Plain(inverted, i))
            {
                return false;
            }
        }

        return true;
    }

    private static byte Plain(byte[] inverted, int index) => (byte)(0xff ^ inverted[index]);
}
