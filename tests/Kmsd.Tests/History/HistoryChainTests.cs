using System.Security.Cryptography;
using Kms.Client.Protocol;
using Kmsd.Access;
using Kmsd.History;
using Kmsd.Storage;

namespace Kmsd.Tests.History;

public sealed class HistoryChainTests
{
    private static readonly byte[] s_key = [.. Enumerable.Repeat((byte)1, 32)];
    private static readonly byte[] s_previous = [.. Enumerable.Repeat((byte)2, 32)];
    private static readonly byte[] s_digest = [.. Enumerable.Repeat((byte)3, 32)];

    [Fact]
    public void A_link_is_the_hmac_over_the_link_before_sequence_and_digest() => Assert.Equal(
        HMACSHA256.HashData(s_key, (byte[])[.. s_previous, 0, 0, 0, 0, 0, 0, 1, 2, .. s_digest]),
        HistoryChain.Link(s_key, s_previous, 258, s_digest));

    [Fact]
    public void A_digest_is_the_hash_of_salt_and_entry() =>
        Assert.Equal(SHA256.HashData([1, 2, 3, 4]), HistoryChain.Digest([1, 2], [3, 4]));

    [Fact]
    public void A_chain_begins_with_its_instance()
    {
        Assert.Equal(SHA256.HashData([.. "kmsd/history/origin"u8, 7]), HistoryChain.Origin([7]));
        Assert.NotEqual(HistoryChain.Origin([7]), HistoryChain.Origin([8]));
    }

    [Fact]
    public void Whatever_changes_changes_the_link()
    {
        byte[] other = [.. Enumerable.Repeat((byte)9, 32)];
        byte[][] links =
        [
            HistoryChain.Link(s_key, s_previous, 1, s_digest), HistoryChain.Link(other, s_previous, 1, s_digest),
            HistoryChain.Link(s_key, other, 1, s_digest), HistoryChain.Link(s_key, s_previous, 2, s_digest),
            HistoryChain.Link(s_key, s_previous, 1, other), HistoryChain.Link(s_key, s_digest, 1, s_previous),
        ];
        Assert.Equal(links.Length, links.Select(Convert.ToHexString).Distinct().Count());
    }

    [Fact]
    public void Every_field_of_an_entry_is_in_its_encoding()
    {
        HistoryEntry entry = new() { At = DateTimeOffset.UnixEpoch, Scope = HistoryScope.Key, Operation = "crypto.encrypt" };
        HistoryEntry[] entries =
        [
            entry,
            entry with { At = DateTimeOffset.UnixEpoch.AddMilliseconds(1) },
            entry with { Scope = HistoryScope.Store },
            entry with { Operation = "crypto.decrypt" },
            entry with { Caller = new Caller(1, 1000, 100, []) },
            entry with { Caller = new Caller(2, 1000, 100, []) },
            entry with { Caller = new Caller(1, 1001, 100, []) },
            entry with { Caller = new Caller(1, 1000, 100, [], Unit("a.service")) },
            entry with { Caller = new Caller(1, 1000, 100, [], Unit("b.service")) },
            entry with { Caller = new Caller(1, 61184, 100, []) },
            entry with { Caller = new Caller(1, 61184, 100, [], Unit("a.service")) },
            entry with { StoreId = [1] },
            entry with { Tag = KeyTag.Parse("0123456789abcdef0123456789abcdef") },
            entry with { Version = 1 },
            entry with { Version = 2 },
            entry with { Outcome = "invalidCiphertext" },
            entry with { Detail = "x" },
            entry with { Items = 1 },
            entry with { ContextDigest = [1] },
        ];
        Assert.Equal(
            entries.Length, entries.Select(each => Convert.ToHexString(each.ToStored(1).Encode(new RowEncoding()).Bytes)).Distinct().Count());
    }

    private static UnitName Unit(string name) => UnitName.TryParse(name, out UnitName unit) ? unit : throw new FormatException(name);
}
