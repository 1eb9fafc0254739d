using System.Globalization;

namespace Kmsctl.Doctor;

/// <summary>Judges one principal: is anybody on this host he?</summary>
internal sealed class Examination(UnitFiles units)
{
    private readonly Dictionary<string, (Problem Problem, string Explanation)> _known = new(StringComparer.Ordinal);

    /// <param name="principal">As the daemon writes it.</param>
    /// <param name="display">The name that the daemon has for it, which may know more name services than we do, or fewer.</param>
    public (Problem Problem, string Explanation) Judge(string principal, string? display)
    {
        if (display is not null)
        {
            return default;
        }

        if (!_known.TryGetValue(principal, out (Problem, string) judgement))
        {
            judgement = Judge(principal);
            _known.Add(principal, judgement);
        }

        return judgement;
    }

    private (Problem Problem, string Explanation) Judge(string principal)
    {
        string[] parts = principal.Split(':', 2);
        string name = parts[^1];
        uint number = uint.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out uint id) ? id : uint.MaxValue;
        return parts[0] switch
        {
            "uid" when !Accounts.HasUser(number) => (Problem.NoAccount, "no account has this number now; whoever gets it next gets this right"),
            "gid" when !Accounts.HasGroup(number) => (Problem.NoGroup, "no group has this number now; whoever gets it next gets this right"),
            "unit" => units.Find(name, out string runsAs) switch
            {
                UnitFileKind.None => (Problem.NoUnit, "this host has no unit file of this name"),
                UnitFileKind.Alias => (Problem.AliasUnit, $"this is another name of {runsAs}; it runs as that, so this right is nobody's"),
                UnitFileKind.Masked => (Problem.MaskedUnit, "this unit is masked, so it never runs"),
                _ => default,
            },
            _ => default,
        };
    }
}
