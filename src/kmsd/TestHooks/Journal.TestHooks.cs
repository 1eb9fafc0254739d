#if KMS_TEST_HOOKS
using Microsoft.Extensions.Logging;

namespace Kmsd.Hosting;

/// <summary><c>KMSD_TEST_LOG_LEVEL</c> names the least important level that the journal gets, such as <c>Trace</c>.</summary>
internal static partial class Journal
{
    static partial void LowerForTest(ref LogLevel least)
    {
        if (Environment.GetEnvironmentVariable("KMSD_TEST_LOG_LEVEL") is string name)
        {
            least = Enum.Parse<LogLevel>(name);
        }
    }
}
#endif
