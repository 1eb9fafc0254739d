using System.Security.Cryptography;
using CsCheck;
using Kms.Client.Protocol;
using Kms.Client.SealedFiles;

namespace Kms.Client.Tests.SealedFiles;

/// <summary>docs/sealed-file.md, "What is detected": every line of it, by trying.</summary>
public sealed class SealedFileTests
{
    private const int Chunk = 65_536;
    private const int SealedChunk = Chunk + 16;
    private const int Body = SealedFileHeader.LengthInBytes;

    private readonly DoubleDataKeys _keys = new();

    public static TheoryData<int> Lengths =>
    [
        0, 1, 15, 16, 17, Chunk - 1, Chunk, Chunk + 1, (2 * Chunk) - 1, 2 * Chunk, (2 * Chunk) + 1, (8 * Chunk) - 1, 8 * Chunk,
        (8 * Chunk) + 1, 16 * Chunk, (32 * Chunk) - 1, 32 * Chunk, (32 * Chunk) + 1, (41 * Chunk) + 12_345,
    ];

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Lengths))]
    public async Task What_is_sealed_opens_to_the_same(int length)
    {
        byte[] content = RandomNumberGenerator.GetBytes(length);
        byte[] file = await SealAsync(content);
        int chunks = Math.Max(1, (length + Chunk - 1) / Chunk);
        Assert.Equal(Body + length + (16 * chunks), file.Length);
        Assert.Equal(content, await OpenAsync(file));

        // A pipe gives what it has, and doesn't know how long it is.
        using var piped = new MemoryStream();
        _ = await SealedFile.EncryptAsync(_keys, "k", FileId(), new Dripping(content), piped, null, Stop);
        using var opened = new MemoryStream();
        _ = await SealedFile.DecryptAsync(_keys, new Dripping(piped.ToArray()), opened, null, Stop);
        Assert.Equal(content, opened.ToArray());
    }

    [Fact]
    public async Task Any_content_opens_to_the_same() => await Gen.Int[0, 3 * Chunk].SampleAsync(
        async length =>
        {
            byte[] content = RandomNumberGenerator.GetBytes(length);
            Assert.Equal(content, await OpenAsync(await SealAsync(content)));
        },
        iter: 200);

    [Fact]
    public async Task The_same_content_never_seals_to_the_same()
    {
        byte[] one = await SealAsync(new byte[100]);
        byte[] other = await SealAsync(new byte[100]);
        Assert.NotEqual(one[32..64], other[32..64]);
        Assert.NotEqual(one[Body..], other[Body..]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    public async Task Every_flipped_bit_of_a_small_file_is_refused(int length)
    {
        byte[] file = await SealAsync(RandomNumberGenerator.GetBytes(length));
        for (int bit = 0; bit < file.Length * 8; bit++)
        {
            byte[] damaged = [.. file];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Equal(0, await RefusedAsync(damaged, $"bit {bit}"));
        }
    }

    [Fact]
    public async Task Any_flipped_bit_of_a_long_file_is_refused_and_nothing_from_its_chunk_on_released()
    {
        byte[] content = RandomNumberGenerator.GetBytes((20 * Chunk) + 100);
        byte[] file = await SealAsync(content);
        await Gen.Int[0, (file.Length * 8) - 1].SampleAsync(
            async bit =>
            {
                byte[] damaged = [.. file];
                damaged[bit / 8] ^= (byte)(1 << (bit % 8));
                int released = await RefusedAsync(damaged, $"bit {bit}", content);
                Assert.True(released <= Math.Max(0, ((bit / 8) - Body) / SealedChunk) * Chunk, $"bit {bit}: {released} bytes");
            },
            iter: 300);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(100)]
    public async Task Every_truncation_of_a_small_file_is_refused(int length)
    {
        byte[] file = await SealAsync(new byte[length]);
        for (int cut = 0; cut < file.Length; cut++)
        {
            Assert.Equal(0, await RefusedAsync(file[..cut], $"cut at {cut}"));
        }
    }

    [Theory]
    [InlineData(3 * Chunk)]
    [InlineData((3 * Chunk) + 1)]
    [InlineData(17 * Chunk)]
    public async Task Truncations_of_a_long_file_are_refused(int length)
    {
        byte[] content = RandomNumberGenerator.GetBytes(length);
        byte[] file = await SealAsync(content);
        for (int border = Body; border <= file.Length; border += SealedChunk)
        {
            for (int cut = border - 18; cut <= Math.Min(border + 18, file.Length - 1); cut++)
            {
                _ = await RefusedAsync(file[..cut], $"cut at {cut}", content);
            }
        }

        await Gen.Int[0, file.Length - 1].SampleAsync(async cut => await RefusedAsync(file[..cut], $"cut at {cut}", content), iter: 100);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(Chunk - 1)]
    [InlineData(Chunk)]
    [InlineData(8 * Chunk)]
    public async Task Anything_behind_the_end_is_refused(int length)
    {
        byte[] file = await SealAsync(new byte[length]);
        foreach (int more in (int[])[1, 15, 16, 17, SealedChunk - 1, SealedChunk, SealedChunk + 1])
        {
            _ = await RefusedAsync([.. file, .. new byte[more]], $"{more} bytes more");
        }

        _ = await RefusedAsync([.. file, .. file[Body..]], "the body twice");
        _ = await RefusedAsync([.. file, .. file], "the file twice");
    }

    [Fact]
    public async Task Chunks_moved_within_a_file_are_refused()
    {
        byte[] file = await SealAsync(RandomNumberGenerator.GetBytes(10 * Chunk));
        for (int one = 0; one < 10; one++)
        {
            for (int other = 0; other < 10; other++)
            {
                if (one != other)
                {
                    byte[] swapped = [.. file];
                    ChunkOf(file, one).CopyTo(ChunkOf(swapped, other));
                    _ = await RefusedAsync(swapped, $"{one} copied over {other}");
                    ChunkOf(file, other).CopyTo(ChunkOf(swapped, one));
                    _ = await RefusedAsync(swapped, $"{one} and {other} swapped");
                }
            }

            byte[] without = [.. file[..(Body + (one * SealedChunk))], .. file[(Body + ((one + 1) * SealedChunk))..]];
            _ = await RefusedAsync(without, $"{one} left out");
        }
    }

    [Fact]
    public async Task Chunks_of_another_file_under_the_same_key_are_refused()
    {
        byte[] content = new byte[4 * Chunk];
        byte[] file = await SealAsync(content);
        byte[] foreign = await SealAsync(content);
        for (int one = 0; one < 4; one++)
        {
            for (int other = 0; other < 4; other++)
            {
                byte[] spliced = [.. file];
                ChunkOf(foreign, one).CopyTo(ChunkOf(spliced, other));
                _ = await RefusedAsync(spliced, $"chunk {other} replaced by {one} of another file");
            }

            int at = Body + (one * SealedChunk);
            _ = await RefusedAsync([.. file[..at], .. foreign[at..]], $"spliced at chunk {one}");
        }

        _ = await RefusedAsync([.. file[..64], .. foreign[64..]], "the header of another file");
        _ = await RefusedAsync([.. file[..64], .. foreign[64..Body], .. file[Body..]], "the slot of another file");
    }

    [Fact]
    public async Task A_changed_header_is_refused_even_with_a_data_key_sealed_for_it()
    {
        byte[] file = await SealAsync(new byte[10]);
        var header = SealedFileHeader.Parse(file);
        using SensitiveBytes dataKey = await _keys.OpenAsync(header.Key, header.SealedDataKey, header.FileId.ToArray(), Stop);
        byte[] otherId = FileId();
        string sealedKey = _keys.Seal(dataKey, otherId);
        var forged = new SealedFileHeader(header.Key, otherId, sealedKey);
        byte[] start = [.. forged.ToAuthenticatedBytes(), .. forged.ToSlotBytes()];
        start.CopyTo(file, 0);
        _ = await RefusedAsync(file, "another file id with its own slot");
    }

    [Fact]
    public async Task Sealing_the_data_key_again_touches_the_slot_alone()
    {
        byte[] content = RandomNumberGenerator.GetBytes(Chunk + 7);
        byte[] before = await SealAsync(content);
        _keys.Version = 12;
        using var stream = new MemoryStream([.. before]);
        SealedFileHeader header = await SealedFile.ResealAsync(_keys, stream, Stop);
        byte[] after = stream.ToArray();
        Assert.Equal(12, header.KeyVersion);
        Assert.Equal(before[..64], after[..64]);
        Assert.NotEqual(before[64..Body], after[64..Body]);
        Assert.Equal(before[Body..], after[Body..]);
        Assert.Equal(content, await OpenAsync(after));
    }

    [Fact]
    public async Task A_new_data_key_that_does_not_fit_leaves_the_file_as_it_was()
    {
        byte[] before = await SealAsync(new byte[1]);
        foreach (string nonsense in (string[])["", "kms:v0:AAAA", "kms:v1:" + new string('A', 440)])
        {
            _keys.Nonsense = nonsense;
            using var stream = new MemoryStream([.. before]);
            KmsException refusal = await Assert.ThrowsAsync<KmsException>(() => SealedFile.ResealAsync(_keys, stream, Stop));
            Assert.Equal(KmsErrorCode.Internal, refusal.Code);
            Assert.Equal(before, stream.ToArray());
        }
    }

    [Theory]
    [InlineData(0, 'X', SealedFileFault.NotSealed)]
    [InlineData(8, 2, SealedFileFault.UnknownFormat)]
    [InlineData(9, 2, SealedFileFault.UnknownFormat)]
    [InlineData(10, 17, SealedFileFault.UnknownFormat)]
    [InlineData(11, 1, SealedFileFault.UnknownFormat)]
    [InlineData(64, 255, SealedFileFault.Damaged)]
    [InlineData(Body - 1, 1, SealedFileFault.Damaged)]
    [InlineData(40, 1, SealedFileFault.Damaged)]
    [InlineData(Body, 1, SealedFileFault.Damaged)]
    public async Task The_fault_is_told_apart(int at, int flip, SealedFileFault fault)
    {
        byte[] file = await SealAsync(new byte[1]);
        file[at] ^= (byte)flip;
        Assert.Equal(fault, (await Assert.ThrowsAsync<SealedFileException>(() => OpenAsync(file))).Fault);
    }

    [Fact]
    public async Task A_length_of_256_MiB_needs_no_more_memory_than_a_short_one()
    {
        const long Length = 256L * 1024 * 1024;
        _ = await SealAsync(new byte[1]);
        long before = GC.GetTotalAllocatedBytes();
        using var sink = new CountingSink();
        _ = await SealedFile.EncryptAsync(_keys, "k", FileId(), new Zeros(Length), sink, null, Stop);
        long allocated = GC.GetTotalAllocatedBytes() - before;
        Assert.Equal(Body + Length + (16 * Length / Chunk), sink.Count);
        Assert.True(allocated < 24 * 1024 * 1024, $"{allocated} bytes were allocated.");
    }

    [Fact]
    public async Task Giving_up_and_failing_streams_end_it()
    {
        using var enough = new CancellationTokenSource();
        var progress = new Callback(done =>
        {
            if (done > Chunk)
            {
                enough.Cancel();
            }
        });
        using var sink = new CountingSink();
        _ = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => SealedFile.EncryptAsync(
            _keys, "k", FileId(), new Zeros(long.MaxValue / 2), sink, progress, enough.Token));
        using var full = new CountingSink { Room = 1_000_000 };
        _ = await Assert.ThrowsAsync<IOException>(() => SealedFile.EncryptAsync(
            _keys, "k", FileId(), new Zeros(long.MaxValue / 2), full, null, Stop));
    }

    private static byte[] FileId() => RandomNumberGenerator.GetBytes(SealedFileHeader.FileIdBytes);

    private static Span<byte> ChunkOf(byte[] file, int number) => file.AsSpan(Body + (number * SealedChunk), SealedChunk);

    private async Task<byte[]> SealAsync(byte[] content)
    {
        using var output = new MemoryStream();
        _ = await SealedFile.EncryptAsync(_keys, "k", FileId(), new MemoryStream(content), output, null, Stop);
        return output.ToArray();
    }

    private async Task<byte[]> OpenAsync(byte[] file)
    {
        using var output = new MemoryStream();
        _ = await SealedFile.DecryptAsync(_keys, new MemoryStream(file), output, null, Stop);
        return output.ToArray();
    }

    /// <summary>Holds that a file is refused; the number of bytes released, all of which are the content's first ones.</summary>
    private async Task<int> RefusedAsync(byte[] file, string what, byte[]? content = null)
    {
        using var output = new MemoryStream();
        Exception? exception = await Record.ExceptionAsync(
            () => SealedFile.DecryptAsync(_keys, new MemoryStream(file), output, null, Stop));
        Assert.True(
            exception is SealedFileException or KmsException { Code: KmsErrorCode.NotFound }, $"{what}: {exception?.ToString() ?? "opened"}");
        byte[] released = output.ToArray();
        Assert.True(content is null || content.AsSpan().StartsWith(released), $"{what}: something false was released");
        return released.Length;
    }
}
