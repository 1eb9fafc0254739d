using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using Kmsd.Keys;

namespace Kmsd.Tests.Keys;

/// <summary>
/// Time of the decoder by kind of failure, as in "Dude, is my code constant time?" (Reparaz, Balasch, Verbauwhede, 2017):
/// kinds in random order, Welch's t for each against all others, slowest twentieth (interrupts) left out.
/// </summary>
public sealed class OaepTimingTests
{
    /// <summary>As in the paper: above it a difference is certain. The chance of one of seven equal kinds passing it is below 10^-4.</summary>
    private const double Threshold = 4.5;

    private const int CallsThatDecide = 100_000;
    private const int BlocksOfAKind = 64;

    private static readonly (string Name, Func<byte[]> Make)[] s_kinds =
    [
        ("first byte", () => OaepBlock.Make(Text(), first: 1)),
        ("label hash, first byte", () => OaepBlock.Make(Text(), damage: block => block[0] ^= 0x80)),
        ("label hash, last byte", () => OaepBlock.Make(Text(), damage: block => block[31] ^= 1)),
        ("padding, first byte", () => OaepBlock.Make(Text(), damage: block => block[32] = 2)),
        ("padding, late byte", () => OaepBlock.Make([], damage: block => (block[^2], block[^1]) = (2, 1))),
        ("no end of padding", () => OaepBlock.Make([], damage: block => block[^1] = 0)),
        ("everything", () => [1, .. RandomNumberGenerator.GetBytes(255)]),
    ];

    [Fact]
    public void No_kind_of_failure_takes_another_time_than_the_others()
    {
        int calls = int.Parse(Environment.GetEnvironmentVariable("KMS_TIMING_CALLS") ?? "7000", CultureInfo.InvariantCulture);
        double[] worst = Measure(s_kinds, calls, block =>
        {
            Span<byte> message = stackalloc byte[Oaep.MostMessageBytes];
            return Oaep.TryDecode(block, message, out _);
        });
        string report = string.Join(", ", s_kinds.Zip(worst, (kind, t) => string.Create(CultureInfo.InvariantCulture, $"{kind.Name} {t:f2}")));
        TestContext.Current.TestOutputHelper?.WriteLine($"Welch's t of {calls} calls, threshold {Threshold}: {report}.");
        Assert.True(calls < CallsThatDecide || worst.Max(Math.Abs) < Threshold, report);
    }

    /// <summary>The measurement finds what it looks for: a decoder that leaves at the first fault fails it.</summary>
    [Fact]
    public void A_decoder_that_leaves_early_is_found()
    {
        double[] worst = Measure(s_kinds, CallsThatDecide / 5, block =>
        {
            Span<byte> message = stackalloc byte[Oaep.MostMessageBytes];
            return block[0] == 0 && Oaep.TryDecode(block, message, out _);
        });
        Assert.True(Math.Abs(worst[0]) > 2 * Threshold, $"{worst[0]:f1} is too little.");
    }

    private static double[] Measure((string Name, Func<byte[]> Make)[] kinds, int calls, Func<byte[], bool> decode)
    {
        byte[][][] blocks = [.. kinds.Select(kind => Enumerable.Range(0, BlocksOfAKind).Select(_ => kind.Make()).ToArray())];
        int[] order = [.. Enumerable.Range(0, calls).Select(i => i % kinds.Length)];
        RandomNumberGenerator.Shuffle<int>(order);
        long[] times = new long[calls];
        bool wasAccepted = false;

        // One place in memory for all: where a block lies would be measured too.
        byte[] block = new byte[Oaep.EncodedLength];
        for (int i = -1000; i < calls; i++)
        {
            int kind = order[Math.Max(i, 0)];
            blocks[kind][RandomNumberGenerator.GetInt32(BlocksOfAKind)].CopyTo(block, 0);
            long start = Stopwatch.GetTimestamp();
            wasAccepted |= decode(block);
            times[Math.Max(i, 0)] = Stopwatch.GetTimestamp() - start;
        }

        Assert.False(wasAccepted);
        long limit = times.Order().ElementAt(calls * 19 / 20);
        ILookup<int, double> samples = Enumerable.Range(0, calls).Where(i => times[i] <= limit).ToLookup(i => order[i], i => (double)times[i]);
        return
        [
            .. Enumerable.Range(0, kinds.Length).Select(kind =>
                Welch([.. samples[kind]], [.. samples.Where(other => other.Key != kind).SelectMany(other => other)])),
        ];
    }

    private static double Welch(double[] one, double[] other)
    {
        (double mean, double error) = Moments(one);
        (double otherMean, double otherError) = Moments(other);
        return (mean - otherMean) / Math.Sqrt(error + otherError);
    }

    /// <summary>The mean, and its squared standard error.</summary>
    private static (double Mean, double Error) Moments(double[] samples)
    {
        double mean = samples.Average();
        return (mean, samples.Sum(sample => (sample - mean) * (sample - mean)) / (samples.Length - 1) / samples.Length);
    }

    private static byte[] Text() => RandomNumberGenerator.GetBytes(32);
}
