using System.Globalization;
using System.Security.Cryptography;
using Kms.EndToEnd.Tests.Support;

namespace Kms.EndToEnd.Tests.StateMachine;

/// <summary>
/// Random sequences of every management call and every use, with a clock that moves and a daemon that is killed, against a
/// plain model of what <c>docs/api.md</c> says. The last seed is another at each run; <c>KMS_WALK_SEED</c> walks one again.
/// </summary>
public sealed class StateMachineTests
{
    private const int MostRsaKeys = 1;

    public static TheoryData<string> Seeds()
    {
        if (Environment.GetEnvironmentVariable("KMS_WALK_SEED") is { Length: > 0 } seed)
        {
            return [seed];
        }

        int chosen = Repository.Count("KMS_WALK_SEEDS", 2);
        string random = Environment.GetEnvironmentVariable("KMS_WALK_RANDOM_SEED") is { Length: > 0 } given
            ? given
            : BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(sizeof(ulong))).ToString(CultureInfo.InvariantCulture);
        return [.. Enumerable.Range(1, chosen).Select(number => number.ToString(CultureInfo.InvariantCulture)), random];
    }

    [Theory(DisableDiscoveryEnumeration = true)]
    [MemberData(nameof(Seeds))]
    public async Task The_daemon_does_what_the_model_says_at_every_step_of_a_random_walk(string seed)
    {
        int steps = Repository.Count("KMS_WALK_STEPS", 250);
        await using Walk walk = await Walk.StartAsync(ulong.Parse(seed, CultureInfo.InvariantCulture), MostRsaKeys);
        await walk.RunAsync(steps);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"seed {seed}: {steps} steps, {walk.Kills} kills ({walk.Undecided} with a request unanswered); "
            + string.Join(", ", walk.Seen.Select(seen => $"{seen.Value} {seen.Key}")));
    }
}
