using Kms.Client.Protocol;
using Kmsd.Hosting;

namespace Kmsd.Commands;

/// <summary>The one table from what a caller would hear to an exit: where a command runs, nobody is served.</summary>
internal static class Exits
{
    public static StartupException Of(KmsException exception) => new(
        exception.Code switch
        {
            KmsErrorCode.TokenUnavailable => ExitCode.TokenAbsent,
            KmsErrorCode.StorageUnavailable => ExitCode.CannotCreate,
            _ => ExitCode.Configuration,
        },
        exception.Message,
        exception);

    /// <exception cref="StartupException">The step was refused.</exception>
    public static async Task<T> TryAsync<T>(Func<Task<T>> step)
    {
        try
        {
            return await step();
        }
        catch (KmsException exception)
        {
            throw Of(exception);
        }
    }
}
