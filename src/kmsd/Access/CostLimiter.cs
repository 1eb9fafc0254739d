using Kms.Client.Protocol;

namespace Kmsd.Access;

/// <summary>
/// A token bucket a principal, in units of work: each gets so many a second and saves up a burst. What costs more than the
/// burst is let through when the bucket is full, and paid for afterwards.
/// </summary>
/// <param name="perSecond">0: no limit.</param>
/// <param name="burst">What a bucket holds.</param>
/// <param name="clock">Tells how long it filled.</param>
internal sealed class CostLimiter(int perSecond, int burst, TimeProvider clock)
{
    /// <summary>Making an RSA key: the most that a single request costs.</summary>
    public const int MostCost = 4000;

    // Full buckets say nothing and are dropped when there are so many.
    private const int MostBuckets = 16_384;

    private readonly Lock _lock = new();
    private readonly Dictionary<Principal, (double Units, long At)> _buckets = [];

    public bool IsOn => perSecond > 0;

    /// <summary>How many principals have a bucket.</summary>
    public int Count => _buckets.Count;

    /// <exception cref="KmsException"><c>limitExceeded</c>, with the time after which there is enough.</exception>
    public void Take(Principal principal, long cost)
    {
        if (!IsOn)
        {
            return;
        }

        lock (_lock)
        {
            long now = clock.GetTimestamp();
            double units = Filled(_buckets.GetValueOrDefault(principal, (burst, now)), now);
            double needed = Math.Min(cost, burst);
            if (units < needed)
            {
                var wait = TimeSpan.FromMilliseconds(Math.Ceiling((needed - units) / perSecond * 1000));
                throw new KmsException(
                    KmsErrorCode.LimitExceeded, $"This is more than the {perSecond} units of work a second that you may ask for ([limits] cost_per_second).")
                {
                    RetryAfter = wait,
                };
            }

            if (_buckets.Count >= MostBuckets)
            {
                DropFull(now);
            }

            _buckets[principal] = (units - cost, now);
        }
    }

    private double Filled((double Units, long At) bucket, long now) =>
        Math.Min(burst, bucket.Units + (clock.GetElapsedTime(bucket.At, now).TotalSeconds * perSecond));

    private void DropFull(long now)
    {
        foreach (Principal principal in _buckets.Where(bucket => Filled(bucket.Value, now) >= burst).Select(bucket => bucket.Key).ToList())
        {
            _ = _buckets.Remove(principal);
        }
    }
}
