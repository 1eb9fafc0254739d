using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.RootKeys;
using Kmsd.Rpc;

namespace Kmsd.Tests.Rpc;

/// <summary>Who holds shares, of each generation that still decides something.</summary>
public sealed class ReadRootStatusTests
{
    private static readonly DateTimeOffset s_now = new(2026, 11, 24, 12, 0, 0, TimeSpan.Zero);

    [Fact]
    public async Task Custody_is_told_of_each_generation_until_it_is_retired()
    {
        await using Daemon daemon = await Daemon.StartAsync();
        StoredGeneration made = daemon.Installation.Generations.Current;
        RootGenerations generations = new(
            daemon.Installation.Database, daemon.Installation.Authenticator, daemon.Installation.Rows,
            [
                Make(1, GenerationState.Retired, new ShareSet(0x0a0a, 2, [1])),
                Make(2, GenerationState.Retiring, new ShareSet(0x0b0b, 2, [2])),
                Make(3, GenerationState.Old, shares: null),
                Make(4, GenerationState.Old, new ShareSet(0x0c0c, 1, [3])),
                Make(5, GenerationState.Current, new ShareSet(0x0d0d, 2, [4])),
                Make(6, GenerationState.Planned, shares: null),
            ]);
        StoredShare[] shares = [Share(2, "Ada"), Share(2, "Grace"), Share(4, "Edith"), Share(5, "Mary"), Share(5, "Jean"), Share(5, "Betty")];
        RootStatusResult status = new ReadRootStatus(
            daemon.Catalogue, new RootStatus(generations, shares), new Operators(Daemon.Operator.Principals)).Run(Daemon.Operator);
        Assert.Equal([2L, 3, 4, 5, 6], status.Generations.Select(one => one.Generation));
        Assert.Equal(["shares", "none", "shares", "shares", null], status.Generations.Select(one => one.Custody?.Kind));
        Assert.Equal(["0b0b", null, "0c0c", "0d0d", null], status.Generations.Select(one => one.Custody?.Set));
        Assert.Equal([2L, null, 1, 3, null], status.Generations.Select(one => one.Custody?.Count));
        Assert.Equal(["Ada", "Grace"], status.Generations[0].Custody!.Shares!.Select(share => share.Custodian));
        Assert.Equal("Edith", Assert.Single(status.Generations[2].Custody!.Shares!).Custodian);
        Assert.Equal(("0d0d", 3L), (status.Custody.Set, status.Custody.Count));

        StoredGeneration Make(uint number, GenerationState state, ShareSet? shares) => made with
        {
            Descriptor = made.Descriptor with { Number = number },
            State = state,
            Shares = shares,
        };
    }

    private static StoredShare Share(long generation, string custodian) =>
        new(generation, 1, custodian, "paper", "M", "S", "safe", "site", s_now, s_now);
}
