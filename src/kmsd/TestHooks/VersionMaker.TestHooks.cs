#if KMS_TEST_HOOKS
namespace Kmsd.Keys;

/// <summary><c>KMSD_TEST_IMPORT</c> names a file of 64 hexadecimal digits that every new AES key takes as its material.</summary>
internal sealed partial class VersionMaker
{
    static partial void ImportForTest(Span<byte> material)
    {
        if (Environment.GetEnvironmentVariable("KMSD_TEST_IMPORT") is string path)
        {
            Convert.FromHexString(File.ReadAllText(path).Trim()).CopyTo(material);
        }
    }
}
#endif
