using System.Globalization;
using System.Text.Json;
using Kms.Client.Protocol;
using Kmsd.Hosting;
using Kmsd.Keys;

namespace Kmsd.Recovery;

/// <summary>Keys that must be destroyed again, with the time of their first destruction where it is known.</summary>
internal sealed class DeletionList
{
    private const long LongestFile = 256 << 20;

    private readonly Dictionary<KeyTag, DateTimeOffset> _deletedAt = [];

    public int Count => _deletedAt.Count;

    public DateTimeOffset? Find(KeyTag tag) => _deletedAt.TryGetValue(tag, out DateTimeOffset at) ? at : null;

    public void Add(IEnumerable<DeletedKey> deleted)
    {
        foreach (DeletedKey key in deleted)
        {
            _deletedAt[key.Tag] = key.DeletedAt;
        }
    }

    public void Add(IEnumerable<KeyValuePair<KeyTag, DateTimeOffset>> purged)
    {
        foreach ((KeyTag tag, DateTimeOffset at) in purged)
        {
            _ = _deletedAt.TryAdd(tag, at);
        }
    }

    /// <summary>Adds what <c>kmsctl deleted list --json</c> printed.</summary>
    /// <param name="path">The file.</param>
    /// <param name="now">No later time is believed.</param>
    /// <exception cref="StartupException">65: it can't be read, or is something else.</exception>
    public void AddFile(string path, DateTimeOffset now)
    {
        try
        {
            if (new FileInfo(path).Length > LongestFile)
            {
                throw new StartupException(ExitCode.DataDoesNotVerify, $"{path} is too long for a list of deleted keys. Nothing was changed.");
            }

            ListDeletedKeysResult list = Parse(File.ReadAllBytes(path)) ?? throw new JsonException("It is null.");
            foreach (DeletedKeyDescription? key in list.Keys ?? throw new JsonException("It has no keys."))
            {
                if (key is null)
                {
                    throw new JsonException("A key is null.");
                }

                KeyTag tag = KeyTag.TryParse(key.Tag, out KeyTag parsed) ? parsed : throw new JsonException($"'{key.Tag}' is no tag.");
                _deletedAt[tag] = key.DeletedAt < now ? key.DeletedAt : now;
            }
        }
        catch (Exception exception) when (exception is UnauthorizedAccessException or FileNotFoundException or DirectoryNotFoundException)
        {
            throw new StartupException(
                ExitCode.DataDoesNotVerify,
                $"The list of deleted keys {path} {(exception is UnauthorizedAccessException ? "can't be read: it must be a file that the user that runs kmsd may read" : "isn't there, or is no file")}. Nothing was changed.",
                exception);
        }
        catch (IOException exception)
        {
            throw new StartupException(ExitCode.DataDoesNotVerify, $"The list of deleted keys can't be read: {exception.Message} Nothing was changed.", exception);
        }
        catch (JsonException exception)
        {
            throw new StartupException(
                ExitCode.DataDoesNotVerify, $"{path} isn't what 'kmsctl deleted list --json' prints: {exception.Message} Nothing was changed.", exception);
        }
    }

    /// <summary>The parser's own words are about types of this program.</summary>
    private static ListDeletedKeysResult? Parse(byte[] file)
    {
        try
        {
            return JsonSerializer.Deserialize(file, ProtocolJsonContext.Default.ListDeletedKeysResult);
        }
        catch (JsonException exception)
        {
            throw new JsonException(
                exception.LineNumber is long line && exception.BytePositionInLine is long position
                    ? string.Create(CultureInfo.InvariantCulture, $"see line {line + 1}, byte {position + 1}.")
                    : "it is other JSON.",
                exception);
        }
    }
}
