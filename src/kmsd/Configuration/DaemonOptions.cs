using System.Collections.Immutable;
using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Configuration;

/// <summary>Every setting, with its default. See <c>docs/operations.md</c>, "Settings".</summary>
internal sealed record DaemonOptions
{
    public string Socket { get; set; } = KmsDefaults.Socket;

    public UnixFileMode SocketMode { get; set; } =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;

    public string SocketGroup { get; set; } = "kms";

    public string StateDirectory { get; set; } = "/var/lib/kmsd";

    public int MaxMessageBytes { get; set; } = 131_072;

    public int MaxInFlight { get; set; } = 128;

    public string? Module { get; set; }

    public string? TokenLabel { get; set; }

    public string? TokenSerial { get; set; }

    /// <summary>Null: <c>$CREDENTIALS_DIRECTORY/token-pin</c>.</summary>
    public string? PinFile { get; set; }

    /// <summary>Whether the token remembers which state the database is in.</summary>
    public AnchorMode Anchor { get; set; } = AnchorMode.Required;

    public TimeSpan TokenTimeout { get; set; } = TimeSpan.FromSeconds(10);

    public ImmutableArray<Principal> Operators { get; set; } = [Principal.User(0)];

    /// <summary>Services, and templates for all their instances.</summary>
    public ImmutableArray<string> NeverUnits { get; set; } = [];

    public KeyProtection DefaultProtection { get; set; } = KeyProtection.Software;

    public int CacheEntries { get; set; } = 4096;

    public TimeSpan CacheIdle { get; set; } = TimeSpan.FromHours(1);

    /// <summary>Null: the operators.</summary>
    public ImmutableArray<Principal>? RootAdministrators { get; set; }

    public int RotateDays { get; set; } = 365;

    /// <summary><c>rotate = automatic</c>: a root key of the token is rotated without being asked for.</summary>
    public bool RotatesRootByItself { get; set; }

    public int Connections { get; set; } = 4096;

    public int ConnectionsPerUid { get; set; } = 2048;

    public TimeSpan FirstRequestTimeout { get; set; } = TimeSpan.FromSeconds(60);

    public int KeysPerStore { get; set; } = 10_000;

    public int GrantsPerKey { get; set; } = 1_000;

    public int MembersPerStore { get; set; } = 1_000;

    public int VersionsPerKey { get; set; } = 1_000;

    public int Stores { get; set; } = 1_000;

    /// <summary>Units of work that a principal may ask for in a second; 0: as many as it likes.</summary>
    public int CostPerSecond { get; set; }

    /// <summary>Units that it may save up; null: what it gets in a second, and enough to make an RSA key.</summary>
    public int? Burst { get; set; }

    public int RetainDays { get; set; } = 400;

    /// <summary>The files that were read, for the checks of who may write them.</summary>
    public ImmutableArray<string> Files { get; set; } = [];
}

/// <summary>Paths that daemon and packaging agree on.</summary>
internal static class KmsDefaults
{
    public const string Socket = "/run/kmsd/kmsd.sock";
    public const string ConfigurationFile = "/etc/kmsd/kmsd.conf";
    public const string DropInDirectory = "/etc/kmsd/kmsd.conf.d";
}
