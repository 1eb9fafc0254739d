using System.Globalization;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Hosting;
using Kmsd.Keys;
using Kmsd.RootKeys;
using Kmsd.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Kmsd.Recovery;

/// <summary>The database in whose place a backup is put: what it holds that the backup doesn't. It may be damaged, or forged.</summary>
/// <param name="Catalogue">Its keys, and what remains of deleted ones.</param>
/// <param name="History">Where its history ends.</param>
/// <param name="IsAnchored">The token holds an anchor for it.</param>
/// <param name="Destroyed">Keys that were destroyed or purged by what its history says, and when: also where nothing else remains of them.</param>
internal sealed record ReplacedDatabase(
    Catalogue Catalogue, HistoryHead History, bool IsAnchored, IReadOnlyDictionary<KeyTag, DateTimeOffset> Destroyed)
{
    /// <summary>The instance and the generations, before anything can be verified; null if they can't be read.</summary>
    public static (Instance Instance, IReadOnlyList<StoredGeneration> Generations)? Peek(string path)
    {
        try
        {
            using var database = Database.OpenForReading(path);
            Instance instance = database.Load(Instance.Read).Instance;
            return (instance, [.. database.Load(from => StoredGeneration.ReadAll(from, instance.Id)).Select(one => one.Generation)]);
        }
        catch (StartupException)
        {
            return null;
        }
    }

    /// <summary>
    /// Reads it with the keys of its root generations, of which the token holds more than the backup names; null if what everything rests
    /// on doesn't verify.
    /// </summary>
    public static async Task<ReplacedDatabase?> ReadAsync(string path, RootKey root)
    {
        if (Peek(path) is not var (instance, generations))
        {
            return null;
        }

        using GenerationKeys keys = await root.FindDerivedKeysAsync(TokenAccess.RowsKeyLabel, generations.Where(one => one.IsInToken).Select(one => one.Number));
        try
        {
            using var database = Database.OpenForReading(path);
            RowAuthenticator authenticator = new(keys, instance.Id, generations.Single(one => one.State == GenerationState.Current).Number);
            return database.Load(from => from.ReadSnapshot(snapshot =>
            {
                (Instance verified, StoredCode code) = Instance.Read(snapshot);
                verified.Verify(authenticator, code);
                (HistoryHead head, SetState set) = HistoryHead.Read(snapshot, authenticator);
                RowSet rows = new(authenticator);
                rows.Load(snapshot, authenticator);
                rows.Require(set);
                return new ReplacedDatabase(new CatalogueLoader(snapshot, authenticator, grants: null, NullLogger.Instance).Load(), head, verified.IsAnchored, ReadDestroyed(snapshot));
            }));
        }
        catch (StartupException)
        {
            return null;
        }
    }

    /// <summary>What it holds and the backup doesn't, a line each, for the one who decides.</summary>
    public IEnumerable<string> DescribeNewer(Catalogue backup, HistoryHead end)
    {
        yield return string.Create(CultureInfo.InvariantCulture, $"history entries: {Math.Max(0, History.Sequence - end.Sequence)} more");
        foreach (KeyStore store in Catalogue.Stores.Values.Where(store => !backup.Stores.ContainsKey(store.Id)).OrderBy(store => store.Name, StringComparer.Ordinal))
        {
            yield return $"store {store.Name}: made since, will be gone";
        }

        foreach (Key key in InOrder(Catalogue.Keys.Values))
        {
            Key? old = backup.Keys.GetValueOrDefault(key.Tag);
            if (old is null)
            {
                yield return $"key {NameOf(Catalogue, key)}: made since, will be gone, and with it whatever it has sealed";
                continue;
            }

            if (key.Versions.Length > old.Versions.Length)
            {
                yield return string.Create(
                    CultureInfo.InvariantCulture,
                    $"key {NameOf(Catalogue, key)}: version{(key.Versions.Length - old.Versions.Length > 1 ? "s" : "")} {old.Versions.Length + 1}{(key.Versions.Length - old.Versions.Length > 1 ? $" to {key.Versions.Length}" : "")} will be gone, and what they have sealed");
            }

            if (key.State != old.State)
            {
                yield return $"key {NameOf(Catalogue, key)}: is {Wire.KeyStates[key.State]}, will be {Wire.KeyStates[old.State]}";
            }

            foreach (KeyVersion version in key.Versions.Where(version => old.FindVersion(version.Number) is { State: KeyState.Enabled } && version.State == KeyState.Disabled))
            {
                yield return string.Create(CultureInfo.InvariantCulture, $"key {NameOf(Catalogue, key)}: version {version.Number} was disabled since, will be enabled");
            }

            foreach (Grant grant in key.Grants.Where(grant => !Holds(old, grant)))
            {
                yield return $"key {NameOf(Catalogue, key)}: grant {grant.Principal} {Wire.KeyRoles[grant.Role]} will be gone";
            }

            foreach (Grant grant in old.Grants.Where(grant => !Holds(key, grant)))
            {
                yield return $"key {NameOf(Catalogue, key)}: grant {grant.Principal} {Wire.KeyRoles[grant.Role]} was taken away since, WILL STAND AGAIN";
            }
        }

        foreach (KeyStore store in backup.Stores.Values)
        {
            KeyStore? now = Catalogue.Stores.GetValueOrDefault(store.Id);
            foreach (Member member in store.Members)
            {
                if (now is null || !now.Members.Any(other => other.Principal == member.Principal && other.Role == member.Role))
                {
                    yield return $"store {store.Name}: member {member.Principal} {Wire.StoreRoles[member.Role]} was taken away or changed since, WILL STAND AGAIN";
                }
            }
        }

        if (Catalogue.BadRemains > 0)
        {
            yield return string.Create(
                CultureInfo.InvariantCulture,
                $"{Catalogue.BadRemains} of its rows about deleted keys don't verify: only its history says which keys those were, unless --deleted names them");
        }

        foreach (Key key in InOrder(backup.Keys.Values).Where(key => Catalogue.Deleted.ContainsKey(key.Tag) || Destroyed.ContainsKey(key.Tag)))
        {
            yield return $"key {NameOf(backup, key)}: destroyed since, will be destroyed again";
        }
    }

    /// <summary>A purge's entry names the tag, alone or before the reason; a destruction's is the key's own.</summary>
    private static Dictionary<KeyTag, DateTimeOffset> ReadDestroyed(Database database)
    {
        Dictionary<KeyTag, DateTimeOffset> destroyed = [];
        database.Prepare("SELECT at, detail FROM history WHERE operation = 'deletedKeys.purge' AND outcome = 'ok' AND detail IS NOT NULL").Query(reader =>
        {
            if (KeyTag.TryParse(reader.GetString(1).Split(':')[0], out KeyTag tag))
            {
                destroyed[tag] = reader.GetTime(0);
            }
        });
        database.Prepare("SELECT at, tag FROM history WHERE operation IN ('keys.deleteNow', 'deletion.automatic') AND outcome = 'ok' AND length(tag) = 16").Query(
            reader => destroyed[KeyTag.FromBytes(reader.GetBlob(1))] = reader.GetTime(0));
        return destroyed;
    }

    public static string NameOf(Catalogue catalogue, Key key) => $"{catalogue.Stores[key.StoreId].Name}/{key.Name} ({key.Tag.Text})";

    private static IEnumerable<Key> InOrder(IEnumerable<Key> keys) => keys.OrderBy(key => key.Name, StringComparer.Ordinal).ThenBy(key => key.Tag.Text, StringComparer.Ordinal);

    private static bool Holds(Key key, Grant grant) => key.Grants.Any(other => other.Principal == grant.Principal && other.Role == grant.Role);
}
