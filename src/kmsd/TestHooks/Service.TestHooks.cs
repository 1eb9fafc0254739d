#if KMS_TEST_HOOKS
using System.Globalization;

namespace Kmsd.Commands;

/// <summary>
/// <c>KMSD_TEST_LOOK=path</c>: the daemon looks for what is due many times a second, and after each look writes the time that
/// it looked with to the file. So a test that moved the clock knows when everything that was due has happened.
/// </summary>
internal sealed partial class Service
{
    private static readonly string? s_lookFile = Environment.GetEnvironmentVariable("KMSD_TEST_LOOK");
    private static readonly TimeSpan s_shortInterval = TimeSpan.FromMilliseconds(20);

    static partial void ShortenForTest(ref TimeSpan interval) => interval = s_lookFile is null ? interval : s_shortInterval;

    static partial void TellTest(DateTimeOffset now)
    {
        if (s_lookFile is not null)
        {
            File.WriteAllText(s_lookFile + ".new", now.ToString("yyyy-MM-ddTHH:mm:ss.fffZ", CultureInfo.InvariantCulture));
            File.Move(s_lookFile + ".new", s_lookFile, overwrite: true);
        }
    }
}
#endif
