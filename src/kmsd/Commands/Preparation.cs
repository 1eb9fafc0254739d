using Kms.Client.Protocol;
using Kms.Hsm;
using Kmsd.Access;
using Kmsd.Configuration;
using Kmsd.Hosting;
using Kmsd.RootKeys;
using Microsoft.Extensions.Logging;

namespace Kmsd.Commands;

/// <summary>What every command does first: settings, trust of paths, the state folder, the token.</summary>
internal static class Preparation
{
    public static DaemonOptions ReadOptions(string? file)
    {
        string main = file ?? KmsDefaults.ConfigurationFile;
        IEnumerable<string> dropIns = file is null && Directory.Exists(KmsDefaults.DropInDirectory)
            ? Directory.EnumerateFiles(KmsDefaults.DropInDirectory, "*.conf")
            : [];
        List<string> files = [main, .. dropIns];
        foreach (string path in files)
        {
            TrustedPath.CheckFile(path, "The configuration");
        }

        return Settings.Read(main, files.Skip(1));
    }

    /// <param name="options">Operators and administrators among them are held to the rules as well.</param>
    /// <param name="whyNot">Why this host can't vouch for units; null if it can.</param>
    public static UnitRules TakeUnitRules(DaemonOptions options, string? whyNot)
    {
        UnitRules units = new(options.NeverUnits, whyNot);
        foreach (Principal principal in options.Operators.Concat(options.RootAdministrators ?? []))
        {
            try
            {
                units.Require(principal);
            }
            catch (KmsException exception)
            {
                throw new StartupException(ExitCode.Configuration, $"The configuration names {principal}. {exception.Message}", exception);
            }
        }

        return units;
    }

    public static StateDirectory OpenState(DaemonOptions options)
    {
        if (!Directory.Exists(options.StateDirectory))
        {
            throw new StartupException(
                ExitCode.CannotCreate, $"The state folder {options.StateDirectory} isn't there; make it: install -d -m 0700 {options.StateDirectory}");
        }

        TrustedPath.Check(options.StateDirectory, "The state folder");
        return StateDirectory.Open(options.StateDirectory);
    }

    public static (Token Token, TokenOptions Options) OpenToken(DaemonOptions options)
    {
        string module = options.Module ?? throw Missing("[token] module, the absolute path of the token's PKCS#11 module");
        if (options.TokenLabel is null == options.TokenSerial is null)
        {
            throw Missing("exactly one of [token] label and serial");
        }

        if (!File.Exists(module))
        {
            throw new StartupException(ExitCode.Configuration, $"The module {module} isn't there; check [token] module.");
        }

        TrustedPath.Check(module, "The module");
        if (Environment.GetEnvironmentVariable("SOFTHSM2_CONF") is { Length: > 0 } softHsm)
        {
            TrustedPath.Check(Path.GetFullPath(softHsm), "SOFTHSM2_CONF");
        }

        string pinFile = options.PinFile
            ?? (Environment.GetEnvironmentVariable("CREDENTIALS_DIRECTORY") is string folder
                ? Path.Combine(folder, "token-pin")
                : throw Missing("[token] pin_file, or LoadCredential=token-pin:FILE in the unit"));
        if (!File.Exists(pinFile))
        {
            throw new StartupException(ExitCode.Configuration, $"The PIN file {pinFile} isn't there; check [token] pin_file.");
        }

        TrustedPath.CheckSecret(pinFile, "The PIN file");
        TokenOptions tokenOptions = new() { Timeout = options.TokenTimeout };
        Token token = TokenAccess.Open(module, new TokenSelector(options.TokenLabel, options.TokenSerial), pinFile, tokenOptions);
        try
        {
            _ = TokenAccess.Try(token.SelfTest);
            return (token, tokenOptions);
        }
        catch
        {
            token.Dispose();
            throw;
        }
    }

    /// <summary>Opens the token, and in it the keys of every generation that must be there.</summary>
    public static HsmRootKey OpenRoot(DaemonOptions options, IReadOnlyList<StoredGeneration> generations, TokenMeter meter, ILoggerFactory logs)
    {
        (Token token, TokenOptions tokenOptions) = OpenToken(options);
        try
        {
            return TokenAccess.Try(() => new HsmRootKey(
                token, [.. generations.Where(one => one.IsInToken).Select(one => one.Descriptor)],
                generations.Single(one => one.State == GenerationState.Current).Number, tokenOptions, meter, logs.CreateLogger<HsmRootKey>()));
        }
        catch
        {
            token.Dispose();
            throw;
        }
    }

    private static StartupException Missing(string what) => new(ExitCode.Configuration, $"The configuration lacks {what}.");
}
