#if KMS_TEST_HOOKS
using System.Globalization;

namespace Kmsd.Hosting;

/// <summary>A clock that a test sets: the file named by <c>KMSD_TEST_CLOCK</c> holds an RFC 3339 time, read at every look.</summary>
internal sealed class TestClock(string path) : TimeProvider
{
    public static TimeProvider FromEnvironment() =>
        Environment.GetEnvironmentVariable("KMSD_TEST_CLOCK") is string path ? new TestClock(path) : System;

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.Parse(
        File.ReadAllText(path).Trim(), CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal);
}
#endif
