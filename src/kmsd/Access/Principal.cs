using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Hosting;

namespace Kmsd.Access;

/// <summary>What kind of thing a principal is. The numbers are stored.</summary>
internal enum PrincipalKind
{
    None = 0,
    User = 1,
    Group = 2,
    Unit = 3,
}

/// <summary>Somebody whom the kernel can vouch for: a uid, a gid or a systemd unit.</summary>
internal readonly record struct Principal(PrincipalKind Kind, uint Number, UnitName? Unit)
{
    /// <summary>Ids that the kernel gives to whomever it can't map, or that mean "nobody"; never a principal.</summary>
    private const uint Overflow = 65534;
    private const uint Invalid = uint.MaxValue;

    /// <summary>systemd's dynamic users: lent to one service after another (systemd.exec(5), DynamicUser=).</summary>
    private const uint FirstDynamicUser = 61184;
    private const uint LastDynamicUser = 65519;

    public static Principal User(uint uid) => new(PrincipalKind.User, uid, null);

    public static Principal Group(uint gid) => new(PrincipalKind.Group, gid, null);

    public static Principal Of(UnitName unit) => new(PrincipalKind.Unit, 0, unit);

    /// <summary>True for uids that systemd lends: the unit they are lent to is who it is.</summary>
    public static bool IsDynamicUser(uint uid) => uid is >= FirstDynamicUser and <= LastDynamicUser;

    /// <summary>True for ids of nobody whom this host knows.</summary>
    public static bool IsUnmapped(uint id) => id is Overflow or Invalid;

    /// <summary>Reads a principal and resolves a name to its number.</summary>
    /// <exception cref="KmsException"><c>invalidParams</c> or <c>unsupported</c>, with what is wrong.</exception>
    public static Principal Parse(string text)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        string kind = colon < 0 ? "" : text[..colon];
        string name = colon < 0 ? "" : text[(colon + 1)..];
        Principal principal = kind switch
        {
            "uid" => User(ParseId(name)),
            "gid" => Group(ParseId(name)),
            "user" => User(Accounts.FindUser(name) ?? throw Refused($"There is no user '{name}' (use uid:N for one that is gone).")),
            "group" => Group(Accounts.FindGroup(name) ?? throw Refused("There is no group of that name.")),
            "unit" => UnitName.TryParse(name, out UnitName unit)
                ? Of(unit)
                : throw Refused("A unit is named as systemd names it, in full: nginx.service, or backup@home.service for an instance of a template."),
            _ => throw Refused($"'{text}' is no principal: uid:1000, gid:34, unit:nginx.service, user:alice or group:backup."),
        };

        if (!principal.CanBeGranted)
        {
            throw Refused(principal.Unit is null
                ? "This id is never granted: it is unmapped, or one of systemd's dynamic users (those are named by unit)."
                : $"The unit {principal.Unit} runs other people's programs; grant to a uid or a gid.");
        }

        return principal;
    }

    /// <summary>Reads a principal that a search names: it may be one that is never granted.</summary>
    /// <exception cref="KmsException"><c>invalidParams</c></exception>
    public static Principal ParseForSearch(string text)
    {
        try
        {
            return FromStored(text);
        }
        catch (FormatException)
        {
            return Parse(text);
        }
    }

    /// <summary>Reads what <see cref="ToString"/> wrote.</summary>
    /// <exception cref="FormatException">It is something else.</exception>
    public static Principal FromStored(string text)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        string name = text[(colon + 1)..];
        bool isId = uint.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out uint id);
        Principal principal = (colon < 0 ? "" : text[..colon]) switch
        {
            "uid" when isId => User(id),
            "gid" when isId => Group(id),
            "unit" when UnitName.TryParse(name, out UnitName unit) => Of(unit),
            _ => throw new FormatException("This is no stored principal."),
        };

        // One spelling each: another one of the same principal would stand beside it, and outlive its removal.
        return principal.ToString() == text ? principal : throw new FormatException("This is no stored principal.");
    }

    /// <summary>False for ids and units that don't name one somebody for good. They are never granted and never matched.</summary>
    public bool CanBeGranted => Kind switch
    {
        PrincipalKind.User => !IsUnmapped(Number) && !IsDynamicUser(Number),
        PrincipalKind.Group => !IsUnmapped(Number),
        PrincipalKind.Unit => Unit is { RunsOthersPrograms: false },
        _ => false,
    };

    /// <summary>The name that the id has now, if it has one.</summary>
    public string? Display => Kind switch
    {
        PrincipalKind.User => Accounts.NameOfUser(Number),
        PrincipalKind.Group => Accounts.NameOfGroup(Number),
        _ => null,
    };

    public override string ToString() => Kind switch
    {
        PrincipalKind.User => string.Create(CultureInfo.InvariantCulture, $"uid:{Number}"),
        PrincipalKind.Group => string.Create(CultureInfo.InvariantCulture, $"gid:{Number}"),
        PrincipalKind.Unit => $"unit:{Unit}",
        _ => "(nobody)",
    };

    private static uint ParseId(string text) =>
        uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out uint id)
            ? id
            : throw Refused("An id is a decimal number.");

    private static KmsException Refused(string message) => new(KmsErrorCode.InvalidParams, message);
}
