using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace Kmsd.Hosting;

/// <summary>The journal: lines in systemd's form on standard error, from information on; of .NET's own only warnings.</summary>
internal static partial class Journal
{
    public static void Configure(ILoggingBuilder logging)
    {
        LogLevel least = LogLevel.Information;
        LowerForTest(ref least);
        _ = logging.SetMinimumLevel(least)
            .AddFilter("Microsoft", least < LogLevel.Information ? least : LogLevel.Warning)
            .AddConsole(console =>
            {
                console.FormatterName = ConsoleFormatterNames.Systemd;
                console.LogToStandardErrorThreshold = LogLevel.Trace;
            });
    }

    static partial void LowerForTest(ref LogLevel least);
}
