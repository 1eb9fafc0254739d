using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Keys;

namespace Kmsd.Rpc;

/// <summary>The root key as its administrators see it: <c>root.status</c>.</summary>
internal sealed class ReadRootStatus(CatalogueLedger catalogue, RootDescription root, Operators operators)
{
    public RootStatusResult Run(Caller caller)
    {
        operators.RequireRootAdministrator(caller);
        var versions = catalogue.Current.Keys.Values.SelectMany(key => key.Versions)
            .GroupBy(version => version.Material.Generation).ToDictionary(group => group.Key, group => group.LongCount());
        return new RootStatusResult
        {
            Generation = root.Generation,
            Origin = root.Origin,
            CreatedAt = root.CreatedAt,
            RotateBy = root.RotateBy,
            Custody = new CustodyDescription { Kind = root.Custody },
            Generations =
            [
                new RootGenerationDescription
                {
                    Generation = root.Generation,
                    State = "current",
                    Origin = root.Origin,
                    CreatedAt = root.CreatedAt,
                    Versions = versions.GetValueOrDefault(root.Generation),
                },
            ],
            Rewrap = new RewrapDescription { Done = versions.GetValueOrDefault(root.Generation), Total = versions.Values.Sum() },
        };
    }
}
