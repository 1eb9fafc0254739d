using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace Kms.Hsm.Tests;

/// <summary>SoftHSM with tokens of this run's own, made as the quick start makes them, in a folder that ends with the run.</summary>
public sealed partial class SoftHsm : IDisposable
{
    public const string Pin = "right-pin-2718";
    public const string Label = "kms-test";
    public const string OtherLabel = "kms-other";
    public const string TwinLabel = "kms-twin";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("kms-hsm-tests-");

    public SoftHsm()
    {
        if (!File.Exists(ModulePath))
        {
            throw new InvalidOperationException($"{ModulePath} isn't there: install softhsm2, or name another module in KMS_TEST_MODULE.");
        }

        string pinFile = Path.Combine(_folder.FullName, "pin");
        File.WriteAllText(pinFile, Pin + "\n");
        foreach (string label in new[] { Label, OtherLabel, TwinLabel, TwinLabel })
        {
            MakeToken(label, pinFile);
        }

        // Environment.SetEnvironmentVariable isn't seen by native getenv.
        if (SetVariable("SOFTHSM2_CONF", Path.Combine(_folder.FullName, "softhsm2.conf"), 1) != 0)
        {
            throw new InvalidOperationException("setenv failed.");
        }
    }

    public static string ModulePath { get; } =
        Environment.GetEnvironmentVariable("KMS_TEST_MODULE") ?? "/usr/lib/softhsm/libsofthsm2.so";

    public static byte[] InstanceId { get; } = [.. Enumerable.Range(1, 16).Select(number => (byte)number)];

    public static Token Open(
        string? label = Label, string? serial = null, string pin = Pin, int sessions = 4, TimeSpan? timeout = null, string? module = null)
    {
        using SecretBytes secret = new(Encoding.UTF8.GetBytes(pin));
        TokenOptions options = new() { Sessions = sessions, Timeout = timeout ?? TimeSpan.FromSeconds(30) };
        return Token.Open(module ?? ModulePath, new TokenSelector(label, serial), secret, options);
    }

    public void Dispose() => _folder.Delete(recursive: true);

    private void MakeToken(string label, string pinFile)
    {
        ProcessStartInfo start = new("/bin/sh", [Path.Combine(Root(), "softhsm", "make-token.sh"), _folder.FullName, label, pinFile])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start) ?? throw new InvalidOperationException("/bin/sh doesn't start.");
        string output = process.StandardOutput.ReadToEnd() + process.StandardError.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException($"make-token.sh exits {process.ExitCode}: {output}");
        }
    }

    private static string Root()
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

    [LibraryImport("libc", EntryPoint = "setenv", StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int SetVariable(string name, string value, int overwrite);
}
