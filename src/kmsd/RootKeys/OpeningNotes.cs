using System.Globalization;
using System.Text;
using Kmsd.Hosting;

namespace Kmsd.RootKeys;

/// <summary>An opening of custody that the database doesn't know of yet.</summary>
/// <param name="At">When.</param>
/// <param name="Generation">Whose shares.</param>
/// <param name="Description">For the history and for notices.</param>
/// <param name="Seals">Of each share that was opened, the new one.</param>
internal sealed record OpeningNote(DateTimeOffset At, long Generation, string Description, IReadOnlyDictionary<long, string> Seals);

/// <summary>
/// Openings of custody that came before there was a database to record them in: <c>root restore</c> gives a new token its root key, and
/// which database that serves is accepted afterwards. One line each, in a file of the state folder, until then.
/// </summary>
/// <param name="stateDirectory">Of the daemon.</param>
internal sealed class OpeningNotes(string stateDirectory)
{
    public const string FileName = "custody-opened";

    private readonly string _path = Path.Combine(stateDirectory, FileName);

    /// <summary>Adds one; it is on the disk afterwards.</summary>
    /// <exception cref="StartupException">73: it can't be written.</exception>
    public void Add(OpeningNote note)
    {
        // No field has a control character: the dialogue refuses them.
        string line = string.Join('\t', [
            note.At.ToUnixTimeMilliseconds().ToString(CultureInfo.InvariantCulture), note.Generation.ToString(CultureInfo.InvariantCulture), note.Description,
            .. note.Seals.SelectMany(seal => new[] { seal.Key.ToString(CultureInfo.InvariantCulture), seal.Value }),
        ]);
        try
        {
            using FileStream file = new(_path, new FileStreamOptions
            {
                Mode = FileMode.Append,
                Access = FileAccess.Write,
                UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
            });
            file.Write(Encoding.UTF8.GetBytes(line + "\n"));
            file.Flush(flushToDisk: true);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartupException(
                ExitCode.CannotCreate, $"The root key is in the token, but {_path} can't be written: {exception.Message} Say in the next command's reason that custody was opened.", exception);
        }
    }

    /// <exception cref="StartupException">65: it isn't as it was written; 73: it can't be read.</exception>
    public IReadOnlyList<OpeningNote> Read()
    {
        if (!File.Exists(_path))
        {
            return [];
        }

        try
        {
            return [.. File.ReadAllLines(_path).Select(Parse)];
        }
        catch (Exception exception) when (exception is FormatException or OverflowException or ArgumentException or IndexOutOfRangeException)
        {
            throw new StartupException(
                ExitCode.DataDoesNotVerify, $"{_path} isn't as 'kmsd root restore' wrote it. Move it away, and say in the reason that custody was opened.", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartupException(ExitCode.CannotCreate, $"{_path} can't be read: {exception.Message}", exception);
        }
    }

    /// <summary>They are recorded.</summary>
    /// <exception cref="StartupException">73: it can't be removed.</exception>
    public void Remove()
    {
        try
        {
            File.Delete(_path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new StartupException(ExitCode.CannotCreate, $"{_path} can't be removed: {exception.Message} Remove it by hand: it is recorded.", exception);
        }
    }

    private static OpeningNote Parse(string line)
    {
        string[] fields = line.Split('\t');
        return new OpeningNote(
            DateTimeOffset.FromUnixTimeMilliseconds(long.Parse(fields[0], CultureInfo.InvariantCulture)), long.Parse(fields[1], CultureInfo.InvariantCulture), fields[2],
            fields.Skip(3).Chunk(2).ToDictionary(pair => long.Parse(pair[0], CultureInfo.InvariantCulture), pair => pair[1]));
    }
}
