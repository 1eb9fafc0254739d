using System.Security.Cryptography;
using Kms.Hsm;
using Kmsd.History;

namespace Kmsd.Tests.History;

public sealed class HistoryRatchetTests : IDisposable
{
    private static readonly byte[] s_digest = SHA256.HashData("an entry"u8);
    private static readonly byte[] s_previous = SHA256.HashData("the link before"u8);

    private readonly byte[] _first = RandomNumberGenerator.GetBytes(32);
    private readonly SecretBytes _key;

    public HistoryRatchetTests() => _key = new SecretBytes([.. _first]);

    public void Dispose() => _key.Dispose();

    [Theory]
    [InlineData(1, 0)]
    [InlineData(1024, 0)]
    [InlineData(1025, 1)]
    [InlineData(2048, 1)]
    [InlineData(2049, 2)]
    public void Each_1024_entries_have_a_key_that_is_expanded_from_the_one_before(long sequence, int steps)
    {
        byte[] key = _first;
        for (int i = 0; i < steps; i++)
        {
            key = HKDF.Expand(HashAlgorithmName.SHA256, key, 32, "kmsd/history/ratchet"u8.ToArray());
        }

        using HistoryRatchet ratchet = new(_key, 1, 1);
        Assert.Equal(HistoryChain.Link(key, s_previous, sequence, s_digest), ratchet.Link(s_previous, sequence, s_digest));
        using HistoryRatchet later = new(_key, 1, sequence);
        Assert.Equal(HistoryChain.Link(key, s_previous, sequence, s_digest), later.Link(s_previous, sequence, s_digest));
    }

    [Fact]
    public void Until_the_commit_it_can_go_back_and_after_it_the_old_key_is_gone()
    {
        using HistoryRatchet ratchet = new(_key, 1, 1024);
        byte[] last = ratchet.Link(s_previous, 1024, s_digest);
        byte[] next = ratchet.Link(s_previous, 1025, s_digest);
        Assert.Equal(last, ratchet.Link(s_previous, 1024, s_digest));
        Assert.Equal(next, ratchet.Link(s_previous, 1025, s_digest));
        ratchet.Commit(1025);
        Assert.Equal(next, ratchet.Link(s_previous, 1025, s_digest));
        Assert.NotEqual(last, ratchet.Link(s_previous, 1024, s_digest));
    }

    [Fact]
    public void A_commit_may_go_over_more_than_one_key()
    {
        using HistoryRatchet ratchet = new(_key, 1, 1);
        using HistoryRatchet expected = new(_key, 1, 5000);
        _ = ratchet.Link(s_previous, 1025, s_digest);
        ratchet.Commit(5000);
        Assert.Equal(expected.Link(s_previous, 5000, s_digest), ratchet.Link(s_previous, 5000, s_digest));
    }
}
