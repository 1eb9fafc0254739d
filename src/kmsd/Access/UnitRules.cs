using System.Collections.Frozen;
using Kms.Client.Protocol;

namespace Kmsd.Access;

/// <summary>Which units can be principals on this host: what its kernel offers, and what <c>[access] never_units</c> takes out.</summary>
/// <param name="neverUnits">Names and templates, as <see cref="UnitName.TryParsePattern"/> gives them.</param>
/// <param name="whyNot">The sentence that says why this host can't vouch for any unit; null if it can.</param>
internal sealed class UnitRules(IEnumerable<string> neverUnits, string? whyNot)
{
    private readonly FrozenSet<string> _never = neverUnits.ToFrozenSet(StringComparer.Ordinal);

    /// <summary>The unit, if it may be a principal.</summary>
    public UnitName? Filter(UnitName? unit) => whyNot is null && unit is UnitName name && !IsNever(name) ? name : null;

    /// <exception cref="KmsException"><c>unsupported</c> or <c>invalidParams</c>: nothing may be granted to this principal on this host.</exception>
    public void Require(Principal principal)
    {
        if (principal.Unit is not UnitName unit)
        {
            return;
        }

        if (whyNot is not null)
        {
            throw new KmsException(KmsErrorCode.Unsupported, whyNot);
        }

        if (IsNever(unit))
        {
            throw new KmsException(
                KmsErrorCode.InvalidParams,
                $"The unit {unit} runs other people's programs ([access] never_units in the configuration); grant to a uid or a gid.");
        }
    }

    private bool IsNever(UnitName unit) => unit.RunsOthersPrograms || unit.IsAmong(_never);
}
