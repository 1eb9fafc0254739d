namespace Kms.EndToEnd.Tests.Support;

/// <summary>A small file system (tmpfs) in place of a folder, and something in it that takes up all room that is left.</summary>
internal sealed class SmallDisk : IAsyncDisposable
{
    private readonly string _folder;

    private SmallDisk(string folder) => _folder = folder;

    private string Ballast => Path.Combine(_folder, "ballast");

    public static async Task<SmallDisk> MountAsync(string folder, int mebibytes)
    {
        _ = await Shell.SucceedAsync("mount", "-t", "tmpfs", "-o", $"size={mebibytes}m,mode=0700", "tmpfs", folder);
        return new SmallDisk(folder);
    }

    /// <summary>Writes until nothing goes in any more.</summary>
    public void Fill()
    {
        byte[] page = new byte[4096];
        using FileStream file = new(Ballast, FileMode.Append, FileAccess.Write, FileShare.None, bufferSize: 0);
        try
        {
            while (true)
            {
                file.Write(page);
            }
        }
        catch (IOException exception) when (exception.Message.Contains("No space left", StringComparison.Ordinal))
        {
            // Full.
        }
    }

    public void MakeRoom() => File.Delete(Ballast);

    public async ValueTask DisposeAsync() => _ = await Shell.SucceedAsync("umount", _folder);
}
