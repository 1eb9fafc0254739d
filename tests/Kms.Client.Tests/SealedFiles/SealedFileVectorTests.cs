using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kms.Client.SealedFiles;

namespace Kms.Client.Tests.SealedFiles;

/// <summary>docs/sealed-file.md, "Test vectors": read from that page, so that it can't be wrong.</summary>
public sealed class SealedFileVectorTests
{
    private static readonly Dictionary<string, string> s_page = ReadPage();

    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public void The_body_key_is_the_pages()
    {
        using var dataKey = new SensitiveBytes(Bytes("data key"));
        var header = new SealedFileHeader(KeyTag.Parse(s_page["key tag"]), Bytes("file id"), s_page["slot's text"]);
        Assert.Equal(Bytes("header"), header.ToAuthenticatedBytes());
        using SensitiveBytes key = BodyChunks.DeriveKey(dataKey, header);
        Assert.Equal(Bytes("body key"), key.AsSpan());
    }

    [Fact]
    public async Task The_files_are_the_pages()
    {
        Assert.Equal(Bytes("its body"), (await SealAsync(Bytes("content")))[SealedFileHeader.LengthInBytes..]);
        Assert.Equal(Bytes("body of empty content"), (await SealAsync([]))[SealedFileHeader.LengthInBytes..]);
        byte[] file = await SealAsync([.. Enumerable.Range(0, 65_537).Select(i => (byte)(i % 251))]);
        Assert.Equal(Bytes("SHA-256 of the whole file whose content is 65,537 bytes, byte *i* being *i* mod 251"), SHA256.HashData(file));
    }

    [Fact]
    public async Task The_pages_file_opens()
    {
        byte[] slot = new byte[448];
        System.Text.Encoding.ASCII.GetBytes(s_page["slot's text"]).CopyTo(slot, 2);
        slot[1] = (byte)s_page["slot's text"].Length;
        using var output = new MemoryStream();
        _ = await SealedFile.DecryptAsync(
            new PageKeys(), new MemoryStream([.. Bytes("header"), .. slot, .. Bytes("its body")]), output, null, Stop);
        Assert.Equal(Bytes("content"), output.ToArray());
    }

    private static async Task<byte[]> SealAsync(byte[] content)
    {
        using var output = new MemoryStream();
        _ = await SealedFile.EncryptAsync(new PageKeys(), "any", Bytes("file id"), new MemoryStream(content), output, null, Stop);
        return output.ToArray();
    }

    private static byte[] Bytes(string name) => Convert.FromHexString(s_page[name]);

    private static Dictionary<string, string> ReadPage()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(folder!.FullName, "Kms.sln")))
        {
            folder = folder.Parent;
        }

        return File.ReadLines(Path.Combine(folder.FullName, "docs", "sealed-file.md"))
            .Select(line => line.Split('|', StringSplitOptions.TrimEntries))
            .Where(cells => cells is ["", _, ['`', .., '`'], ""])
            .ToDictionary(cells => cells[1], cells => cells[2].Trim('`'));
    }

    /// <summary>Gives and takes the page's data key, which no daemon has sealed.</summary>
    private sealed class PageKeys : IDataKeys
    {
        public Task<NewDataKey> CreateAsync(string key, byte[] context, CancellationToken cancellationToken) =>
            Task.FromResult(new NewDataKey(KeyTag.Parse(s_page["key tag"]), s_page["slot's text"], new SensitiveBytes(Bytes("data key"))));

        public Task<SensitiveBytes> OpenAsync(KeyTag key, string sealedKey, byte[] context, CancellationToken cancellationToken)
        {
            Assert.Equal((s_page["key tag"], s_page["slot's text"]), (key.Text, sealedKey));
            Assert.Equal(Bytes("file id"), context);
            return Task.FromResult(new SensitiveBytes(Bytes("data key")));
        }

        public Task<string> ReencryptAsync(KeyTag key, string sealedKey, byte[] context, CancellationToken cancellationToken) =>
            throw new NotSupportedException();
    }
}
