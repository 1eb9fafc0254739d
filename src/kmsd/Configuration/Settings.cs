using System.Collections.Immutable;
using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Access;

namespace Kmsd.Configuration;

/// <summary>The table of known settings: name, how the text is read, where it goes. Anything else is an error.</summary>
internal static class Settings
{
    private delegate void Apply(DaemonOptions options, ConfigurationEntry entry);

    private static readonly Dictionary<string, Dictionary<string, Apply>> s_known = new(StringComparer.Ordinal)
    {
        ["daemon"] = new(StringComparer.Ordinal)
        {
            ["socket"] = (options, entry) => options.Socket = AbsolutePath(entry),
            ["socket_mode"] = (options, entry) => options.SocketMode = FileMode(entry),
            ["socket_group"] = (options, entry) => options.SocketGroup = NotEmpty(entry),
            ["state_dir"] = (options, entry) => options.StateDirectory = AbsolutePath(entry),
            ["max_message_bytes"] = (options, entry) => options.MaxMessageBytes = Number(entry, 1024, 16 << 20),
            ["max_in_flight"] = (options, entry) => options.MaxInFlight = Number(entry, 1, 4096),
        },
        ["token"] = new(StringComparer.Ordinal)
        {
            ["module"] = (options, entry) => options.Module = AbsolutePath(entry),
            ["label"] = (options, entry) => options.TokenLabel = NotEmpty(entry),
            ["serial"] = (options, entry) => options.TokenSerial = NotEmpty(entry),
            ["pin_file"] = (options, entry) => options.PinFile = AbsolutePath(entry),
            ["wrap"] = (_, entry) => Only(entry, "auto"),
            ["anchor"] = (options, entry) => options.Anchor = Anchor(entry),
            ["timeout"] = (options, entry) => options.TokenTimeout = Duration(entry, TimeSpan.FromMilliseconds(100)),
        },
        ["access"] = new(StringComparer.Ordinal)
        {
            ["operators"] = (options, entry) => options.Operators = Principals(entry),
            ["never_units"] = (options, entry) => options.NeverUnits = Units(entry),
        },
        ["keys"] = new(StringComparer.Ordinal)
        {
            ["default_protection"] = (options, entry) => options.DefaultProtection = Protection(entry),
            ["cache_entries"] = (options, entry) => options.CacheEntries = Number(entry, 1, 1 << 20),
            ["cache_idle"] = (options, entry) => options.CacheIdle = Duration(entry, TimeSpan.FromSeconds(1)),
        },
        ["root"] = new(StringComparer.Ordinal)
        {
            ["administrators"] = (options, entry) => options.RootAdministrators = Principals(entry),
            ["rotate_days"] = (options, entry) => options.RotateDays = Number(entry, 1, 365),
            ["rotate"] = (options, entry) => options.RotatesRootByItself = OneOf(entry, "manual", "automatic") == "automatic",
        },
        ["limits"] = new(StringComparer.Ordinal)
        {
            ["cost_per_second"] = (options, entry) => options.CostPerSecond = Number(entry, 0, 1 << 30),
            ["burst"] = (options, entry) => options.Burst = Number(entry, 1, 1 << 30),
            ["stores"] = (options, entry) => options.Stores = Number(entry, 1, 1 << 16),
            ["connections"] = (options, entry) => options.Connections = Number(entry, 1, 1 << 20),
            ["connections_per_uid"] = (options, entry) => options.ConnectionsPerUid = Number(entry, 1, 1 << 20),
            ["first_request_timeout"] =
                (options, entry) => options.FirstRequestTimeout = Duration(entry, TimeSpan.FromMilliseconds(100)),
            ["keys_per_store"] = (options, entry) => options.KeysPerStore = Number(entry, 1, 1 << 24),
            ["grants_per_key"] = (options, entry) => options.GrantsPerKey = Number(entry, 1, 1 << 16),
            ["versions_per_key"] = (options, entry) => options.VersionsPerKey = Number(entry, 1, 1 << 20),
            ["members_per_store"] = (options, entry) => options.MembersPerStore = Number(entry, 1, 1 << 16),
        },
        ["history"] = new(StringComparer.Ordinal)
        {
            ["retain_days"] = (options, entry) => options.RetainDays = Number(entry, 365, 36_500),
        },
    };

    /// <summary>Reads the main file and its drop-ins, in the order of their names; a later file replaces.</summary>
    public static DaemonOptions Read(string file, IEnumerable<string> dropIns)
    {
        DaemonOptions options = new();
        List<string> files = [file, .. dropIns.Order(StringComparer.Ordinal)];
        foreach (ConfigurationEntry entry in files.SelectMany(path => ConfigurationReader.ReadFile(path, s_known.ContainsKey)))
        {
            Set(options, entry);
        }

        options.Files = [.. files];
        return options;
    }

    public static void Set(DaemonOptions options, ConfigurationEntry entry)
    {
        if (!s_known.TryGetValue(entry.Section, out Dictionary<string, Apply>? section))
        {
            throw entry.Refuse($"there is no section [{entry.Section}]; known are {string.Join(", ", s_known.Keys)}.");
        }

        if (!section.TryGetValue(entry.Key, out Apply? apply))
        {
            throw entry.Refuse($"there is no setting '{entry.Key}' in [{entry.Section}]; known are {string.Join(", ", section.Keys)}.");
        }

        apply(options, entry);
    }

    private static string NotEmpty(ConfigurationEntry entry) =>
        entry.Value.Length > 0 ? entry.Value : throw entry.Refuse($"'{entry.Key}' needs a value.");

    private static string AbsolutePath(ConfigurationEntry entry) =>
        entry.Value.StartsWith('/') ? entry.Value : throw entry.Refuse($"'{entry.Key}' must be an absolute path.");

    private static int Number(ConfigurationEntry entry, int least, int most) =>
        int.TryParse(entry.Value, NumberStyles.None, CultureInfo.InvariantCulture, out int value) && value >= least && value <= most
            ? value
            : throw entry.Refuse(string.Create(
                CultureInfo.InvariantCulture, $"'{entry.Key}' must be a whole number from {least} to {most}."));

    private static UnixFileMode FileMode(ConfigurationEntry entry)
    {
        const int MostDigits = 4;
        const int AllBits = 0b111_111_111;
        int mode = 0;
        bool isOctal = entry.Value.Length is > 0 and <= MostDigits && entry.Value.All(digit => digit is >= '0' and <= '7');
        foreach (char digit in isOctal ? entry.Value : "")
        {
            mode = (mode * 8) + (digit - '0');
        }

        return isOctal && mode <= AllBits
            ? (UnixFileMode)mode
            : throw entry.Refuse($"'{entry.Key}' must be an octal mode such as 0660.");
    }

    private static TimeSpan Duration(ConfigurationEntry entry, TimeSpan least)
    {
        ReadOnlySpan<char> text = entry.Value;
        int digits = 0;
        while (digits < text.Length && char.IsAsciiDigit(text[digits]))
        {
            digits++;
        }

        TimeSpan? unit = text[digits..] switch
        {
            "ms" => TimeSpan.FromMilliseconds(1),
            "" or "s" => TimeSpan.FromSeconds(1),
            "min" or "m" => TimeSpan.FromMinutes(1),
            "h" => TimeSpan.FromHours(1),
            "d" => TimeSpan.FromDays(1),
            _ => null,
        };
        var most = TimeSpan.FromDays(1);
        return unit is TimeSpan one
            && int.TryParse(text[..digits], NumberStyles.None, CultureInfo.InvariantCulture, out int count)
            && count <= most / one && one * count >= least
            ? one * count
            : throw entry.Refuse($"'{entry.Key}' must be a time such as 500ms, 10s, 5min or 1h, at most a day.");
    }

    private static string[] Words(ConfigurationEntry entry) =>
        entry.Value.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);

    private static ImmutableArray<Principal> Principals(ConfigurationEntry entry)
    {
        try
        {
            return [.. Words(entry).Select(Principal.Parse)];
        }
        catch (KmsException exception)
        {
            throw entry.Refuse($"'{entry.Key}': {exception.Message}");
        }
    }

    private static ImmutableArray<string> Units(ConfigurationEntry entry) =>
    [
        .. Words(entry).Select(word => UnitName.TryParsePattern(word, out string? pattern)
            ? pattern
            : throw entry.Refuse($"'{entry.Key}': '{word}' is no service: docker.service, or ci@.service for every instance of a template.")),
    ];

    private static KeyProtection Protection(ConfigurationEntry entry) => Wire.Protections.TryParse(entry.Value, out KeyProtection protection)
        ? protection
        : throw entry.Refuse($"'{entry.Key}' must be {string.Join(" or ", Wire.Protections.All)}.");

    private static AnchorMode Anchor(ConfigurationEntry entry) => entry.Value switch
    {
        "required" => AnchorMode.Required,
        "off" => AnchorMode.Off,
        _ => throw entry.Refuse($"'{entry.Key}' must be required or off."),
    };

    /// <summary>Refuses every value but those that this version can honour.</summary>
    private static string OneOf(ConfigurationEntry entry, string one, string other) => entry.Value == one || entry.Value == other
        ? entry.Value
        : throw entry.Refuse($"'{entry.Key}' is {one} or {other}.");

    private static void Only(ConfigurationEntry entry, params ReadOnlySpan<string> values)
    {
        if (!values.Contains(entry.Value))
        {
            throw entry.Refuse($"this version of kmsd knows '{entry.Key}' only as {string.Join(" or ", values!)}.");
        }
    }
}
