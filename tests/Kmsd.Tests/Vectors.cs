namespace Kmsd.Tests;

/// <summary>The published vectors: <c>KMS_VECTORS</c>, or <c>shared/vectors</c> beside the repository.</summary>
internal static class Vectors
{
    public static string Folder()
    {
        string folder = Environment.GetEnvironmentVariable("KMS_VECTORS")
            ?? Path.GetFullPath(Path.Combine(Repository.Root(), "..", "shared", "vectors"));
        Assert.SkipUnless(Directory.Exists(folder), $"There are no vectors at {folder}; name another folder in KMS_VECTORS.");
        return folder;
    }
}

internal static class Repository
{
    /// <summary>The folder of <c>Kms.sln</c>.</summary>
    public static string Root()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Kms.sln")))
            {
                return folder.FullName;
            }
        }

        throw new InvalidOperationException("No folder above the tests holds Kms.sln.");
    }
}
