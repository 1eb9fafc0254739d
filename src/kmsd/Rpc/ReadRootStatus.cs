using System.Collections.Immutable;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.Keys;
using Kmsd.RootKeys;
using Kmsd.Rotation;

namespace Kmsd.Rpc;

/// <summary>The root key as its administrators see it: <c>root.status</c>.</summary>
internal sealed class ReadRootStatus(CatalogueLedger catalogue, RootStatus root, Operators operators)
{
    public RootStatusResult Run(Caller caller)
    {
        operators.RequireRootAdministrator(caller);
        ImmutableSortedDictionary<long, long> versions = catalogue.Current.Carried;
        StoredGeneration current = root.Current;
        return new RootStatusResult
        {
            Generation = current.Number,
            Origin = current.Origin,
            CreatedAt = current.CreatedAt,
            RotateBy = current.RotateBy,
            Custody = DescribeCustody(current),
            Generations =
            [
                .. root.Standing.Select(one => new RootGenerationDescription
                {
                    Generation = one.Number,
                    State = one.StateName,
                    Origin = one.Origin,
                    CreatedAt = one.CreatedAt,
                    Versions = versions.GetValueOrDefault(one.Number),
                    Custody = one.State == GenerationState.Planned ? null : DescribeCustody(one),
                }),
            ],
            Left = root.Left.Count > 0 ? [.. root.Left] : null,
            Rewrap = new RewrapDescription
            {
                // What is in quarantine stays where it is.
                Done = versions.GetValueOrDefault(current.Number),
                Total = versions.GetValueOrDefault(current.Number) + RootRotation.CountBehind(catalogue.Current, current.Number),
            },
        };
    }

    private CustodyDescription DescribeCustody(StoredGeneration generation)
    {
        ShareDescription[] shares =
        [
            .. root.SharesOf(generation).Select(share => new ShareDescription
            {
                Share = share.Member,
                Custodian = share.Custodian,
                Medium = share.Medium,
                MediumSerial = share.MediumSerial,
                Seal = share.Seal,
                Safe = share.Safe,
                Site = share.Site,
                RecordedAt = share.RecordedAt,
                VerifiedAt = share.VerifiedAt,
            }),
        ];
        return generation.Shares is ShareSet set
            ? new CustodyDescription
            {
                Kind = generation.Custody,
                Set = set.Name,
                Count = shares.Length,
                Threshold = set.Threshold,
                VerifiedAt = shares.Length > 0 ? shares.Max(share => share.VerifiedAt) : null,
                Shares = shares,
            }
            : new CustodyDescription { Kind = generation.Custody };
    }
}
