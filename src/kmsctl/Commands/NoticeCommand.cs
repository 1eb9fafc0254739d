using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Kms.Client.Protocol;
using Kmsctl.Output;

namespace Kmsctl.Commands;

/// <summary>Runs somebody's command for one notification.</summary>
internal static class NoticeCommand
{
    private const string Prefix = "KMS_NOTICE_";

    /// <summary>Waits for the command's end, also when a signal has come: it has begun, so it is let finish, and what it did counts.</summary>
    /// <exception cref="CommandException">It didn't end with 0, or can't be run.</exception>
    public static async Task RunAsync(string command, NotificationDescription notice, CancellationToken cancellationToken)
    {
        using Process process = Start(command, notice);
        try
        {
            Stream input = process.StandardInput.BaseStream;
            await JsonSerializer.SerializeAsync(input, notice, ProtocolJsonContext.Default.NotificationDescription, CancellationToken.None);
            await input.WriteAsync("\n"u8.ToArray(), CancellationToken.None);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It needn't read it.
        }

        await process.WaitForExitAsync(CancellationToken.None);
        if (process.ExitCode != 0)
        {
            cancellationToken.ThrowIfCancellationRequested(); // The signal that ended this has ended the command, too.
            throw new CommandException(ExitCode.CommandFailed, string.Create(
                CultureInfo.InvariantCulture,
                $"The command ended with {process.ExitCode} for notification {notice.Sequence} ({notice.Kind}), which stays unacknowledged; mend the command and start again."));
        }
    }

    private static Process Start(string command, NotificationDescription notice)
    {
        var start = new ProcessStartInfo("/bin/sh", ["-c", command]) { RedirectStandardInput = true };
        foreach (string inherited in start.Environment.Keys.Where(name => name.StartsWith(Prefix, StringComparison.Ordinal)).ToList())
        {
            _ = start.Environment.Remove(inherited);
        }

        void Set(string name, string? value)
        {
            if (value is not null)
            {
                start.Environment[Prefix + name] = value.Replace("\0", "", StringComparison.Ordinal);
            }
        }

        Set("SEQUENCE", notice.Sequence.ToString(CultureInfo.InvariantCulture));
        Set("AT", Text.Of(notice.At));
        Set("KIND", notice.Kind);
        Set("KEY", notice.Key);
        Set("KEY_NAME", notice.KeyName);
        Set("STORE", notice.Store);
        Set("BY", notice.By);
        Set("DETAIL", notice.Detail);
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception exception)
        {
            throw new CommandException(
                ExitCode.CommandFailed, $"The command can't be run ({exception.Message}); notification {Text.Of(notice.Sequence)} stays unacknowledged.", exception);
        }
    }
}
