using System.Security.Cryptography;
using System.Text;
using Kms.Hsm;
using Kmsd.Custody;

namespace Kmsd.Tests.Custody;

public sealed class ShareFileTests : IDisposable
{
    private static readonly byte[] s_passphrase = "a custodian's passphrase"u8.ToArray();

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("kms-share-");
    private readonly Slip39Share[] _shares;

    public ShareFileTests()
    {
        using SecretBytes secret = new(32, RandomNumberGenerator.Fill);
        _shares = Slip39.Split(secret, 2, 3, 0x7c3e);
    }

    public void Dispose()
    {
        Slip39.DisposeAll(_shares);
        _folder.Delete(recursive: true);
    }

    [Fact]
    public void What_was_written_is_read_back_and_nobody_else_may_read_it()
    {
        ShareFile.Write(Path, _shares[1], s_passphrase);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Path));
        using Slip39Share read = ShareFile.Read(Path, s_passphrase);
        Assert.True(ShareScreen.AreSame(_shares[1], read));
        Assert.False(ShareScreen.AreSame(_shares[0], read));
        string[] lines = File.ReadAllLines(Path);
        Assert.Equal(["kms-share 1", "set 7c3e", "share 2", "needed 2"], lines[..4]);
        Assert.StartsWith("pbkdf2-hmac-sha256 600000 ", lines[4], StringComparison.Ordinal);
    }

    /// <summary>By the page that describes the format, without the code that writes it.</summary>
    [Fact]
    public void The_file_is_as_its_page_says()
    {
        ShareFile.Write(Path, _shares[2], s_passphrase);
        byte[] content = File.ReadAllBytes(Path);
        int end = content.AsSpan().IndexOf("\n\n"u8) + 2;
        string[] fields = Encoding.ASCII.GetString(content, 0, end).Split([' ', '\n']);
        byte[] key = Rfc2898DeriveBytes.Pbkdf2(
            s_passphrase, Convert.FromHexString(fields[10]), int.Parse(fields[9], System.Globalization.CultureInfo.InvariantCulture), HashAlgorithmName.SHA256, 32);
        byte[] body = Convert.FromBase64String(Encoding.ASCII.GetString(content, end, content.Length - end).TrimEnd('\n'));
        byte[] text = new byte[300];
        using AesGcm aes = new(key, 16);
        aes.Decrypt(Convert.FromHexString(fields[12]), body.AsSpan(0, 300), body.AsSpan(300), text, content.AsSpan(0, end));
        Assert.Equal(33, Encoding.ASCII.GetString(text).Split(' ', StringSplitOptions.RemoveEmptyEntries).Length);
        using var share = Slip39Share.Parse(text);
        Assert.True(ShareScreen.AreSame(_shares[2], share));
    }

    [Fact]
    public void A_file_that_is_there_is_never_written_over()
    {
        File.WriteAllText(Path, "something");
        Assert.Contains("can't be made", Assert.Throws<ShareException>(() => ShareFile.Write(Path, _shares[0], s_passphrase)).Message, StringComparison.Ordinal);
        Assert.Equal("something", File.ReadAllText(Path));
        File.Delete(Path);
        _ = File.CreateSymbolicLink(Path, Path + ".elsewhere");
        _ = Assert.Throws<ShareException>(() => ShareFile.Write(Path, _shares[0], s_passphrase));
        Assert.False(File.Exists(Path + ".elsewhere"));
    }

    [Fact]
    public void Another_passphrase_does_not_open_it()
    {
        ShareFile.Write(Path, _shares[0], s_passphrase);
        string refusal = Refusal(File.ReadAllBytes(Path), "another passphrase"u8.ToArray());
        Assert.Contains("the passphrase is wrong, or the file was altered", refusal, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_altered_anywhere_or_cut_is_refused()
    {
        ShareFile.Write(Path, _shares[0], s_passphrase);
        byte[] content = File.ReadAllBytes(Path);
        int end = content.AsSpan().IndexOf("\n\n"u8) + 2;

        // Each byte of the header, and some of what follows it: each try costs the rounds.
        foreach (int at in Enumerable.Range(0, end).Concat([end, end + 200, content.Length - 30]))
        {
            byte[] altered = [.. content];
            altered[at] ^= 1;
            _ = Refusal(altered, s_passphrase);
        }

        foreach (int length in new[] { 0, 5, end, end + 4, content.Length - 5 })
        {
            _ = Refusal(content[..length], s_passphrase);
        }

        _ = Refusal([.. content, .. "AAAA"u8], s_passphrase);
    }

    [Theory]
    [InlineData(599_999, false)]
    [InlineData(600_000, true)]
    public void Fewer_rounds_than_are_safe_are_not_read(int rounds, bool isRead)
    {
        byte[] content = ShareFile.Encrypt(_shares[0], s_passphrase, rounds);
        if (isRead)
        {
            using Slip39Share share = ShareFile.Decrypt(content, s_passphrase, "it");
            Assert.True(ShareScreen.AreSame(_shares[0], share));
        }
        else
        {
            Assert.Contains("no share that this version reads", Refusal(content, s_passphrase), StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Two_folders_of_one_filesystem_are_told_from_those_of_another()
    {
        Assert.Equal(ShareFile.DeviceOf(_folder.FullName), ShareFile.DeviceOf(_folder.Parent!.FullName));
        Assert.NotEqual(ShareFile.DeviceOf(_folder.FullName), ShareFile.DeviceOf("/proc"));
        _ = Assert.Throws<ShareException>(() => ShareFile.DeviceOf(Path));
    }

    private static string Refusal(byte[] content, byte[] passphrase) => Assert.Throws<ShareException>(() =>
    {
        using Slip39Share share = ShareFile.Decrypt(content, passphrase, "it");
    }).Message;

    private string Path => System.IO.Path.Combine(_folder.FullName, "share");
}
