using System.Security.Cryptography;
using Kms.Hsm;
using Kmsd.History;
using Kmsd.Integrity;
using Kmsd.Storage;

namespace Kmsd.Tests.Integrity;

public sealed class AnchorPolicyTests
{
    private static readonly byte[] s_lineage = [.. Enumerable.Repeat((byte)7, 16)];
    private static readonly byte[] s_link = Root(99);

    /// <summary>The database by epoch and set, against a token that settled epoch 5 (set 5) and announced epoch 8 (set 8).</summary>
    [Theory]
    [InlineData(5, 5, nameof(AnchorVerdict.Settled))]
    [InlineData(8, 8, nameof(AnchorVerdict.Pending))]
    [InlineData(4, 4, nameof(AnchorVerdict.RolledBack))]
    [InlineData(4, 5, nameof(AnchorVerdict.RolledBack))]
    [InlineData(0, 0, nameof(AnchorVerdict.RolledBack))]
    [InlineData(5, 6, nameof(AnchorVerdict.AnotherSet))]
    [InlineData(8, 5, nameof(AnchorVerdict.AnotherSet))]
    [InlineData(6, 6, nameof(AnchorVerdict.AnchorLostWrites))]
    [InlineData(9, 9, nameof(AnchorVerdict.AnchorLostWrites))]
    [InlineData(9, 5, nameof(AnchorVerdict.AnchorLostWrites))]
    public void The_table_of_what_happens_at_start_with_a_commit_announced(long epoch, byte set, string verdict) =>
        Assert.Equal(verdict, Judge(epoch, set, Anchor(pending: new SetState(8, Root(8)))).ToString());

    [Theory]
    [InlineData(5, 5, nameof(AnchorVerdict.Settled))]
    [InlineData(4, 4, nameof(AnchorVerdict.RolledBack))]
    [InlineData(5, 4, nameof(AnchorVerdict.AnotherSet))]
    [InlineData(8, 8, nameof(AnchorVerdict.AnchorLostWrites))]
    public void The_table_of_what_happens_at_start_with_everything_settled(long epoch, byte set, string verdict) =>
        Assert.Equal(verdict, Judge(epoch, set, Anchor(pending: null)).ToString());

    [Fact]
    public void Without_an_anchor_or_of_another_lineage_nothing_is_served()
    {
        Assert.Equal(AnchorVerdict.NoAnchor, Judge(5, 5, null));
        Assert.Equal(AnchorVerdict.AnotherLineage, Judge(5, 5, Anchor(null) with { Lineage = Root(1)[..16] }));
        Assert.Equal(AnchorVerdict.AnotherLineage, Judge(9, 9, Anchor(null) with { Lineage = Root(1)[..16] }));
    }

    /// <summary>An acceptance names the one record that it takes the place of, and no later or earlier one of it.</summary>
    [Fact]
    public void A_database_accepted_in_place_of_exactly_this_anchor_is_served()
    {
        AnchorRecord anchor = Anchor(null) with { Lineage = Root(1)[..16] };
        Assert.Equal(AnchorVerdict.Accepted, JudgeSuperseding(anchor, anchor.Name));
        Assert.Equal(AnchorVerdict.AnotherLineage, JudgeSuperseding(anchor, (anchor with { WriteNumber = 4 }).Name));
        Assert.Equal(AnchorVerdict.AnotherLineage, JudgeSuperseding(anchor, (anchor with { WriteNumber = 2 }).Name));
        Assert.Equal(AnchorVerdict.AnotherLineage, JudgeSuperseding(anchor, (anchor with { Lineage = Root(2)[..16] }).Name));
        Assert.Equal(AnchorVerdict.AnotherLineage, JudgeSuperseding(anchor, (anchor with { Settled = new SetState(5, Root(6)) }).Name));
        Assert.Equal(AnchorVerdict.AnotherLineage, JudgeSuperseding(anchor, []));
        Assert.Equal(AnchorVerdict.NoAnchor, JudgeSuperseding(null, anchor.Name));

        static AnchorVerdict JudgeSuperseding(AnchorRecord? anchor, byte[] supersedes) =>
            AnchorPolicy.Judge(s_lineage, new SetState(9, Root(9)), _ => null, anchor, supersedes);
    }

    [Theory]
    [InlineData(5, 5)]
    [InlineData(8, 8)]
    [InlineData(9, 9)]
    public void A_history_that_ends_before_the_anchored_entry_or_differs_there_is_cut(long epoch, byte set)
    {
        AnchorRecord anchor = Anchor(new SetState(8, Root(8)));
        Assert.Equal(AnchorVerdict.HistoryCut, AnchorPolicy.Judge(s_lineage, new SetState(epoch, Root(set)), _ => null, anchor));
        Assert.Equal(AnchorVerdict.HistoryCut, AnchorPolicy.Judge(s_lineage, new SetState(epoch, Root(set)), _ => Root(3), anchor));
    }

    [Fact]
    public void Only_what_is_the_database_that_the_token_knows_or_newer_is_served() =>
        Assert.Equal(
            [AnchorVerdict.None, AnchorVerdict.Settled, AnchorVerdict.Pending, AnchorVerdict.AnchorLostWrites, AnchorVerdict.Accepted],
            Enum.GetValues<AnchorVerdict>().Where(AnchorPolicy.Serves));

    [Fact]
    public void A_record_is_read_back_from_its_bytes_and_from_no_others()
    {
        using GenerationKeys keys = new();
        keys.Add(1, new SecretBytes(32, bytes => bytes.Fill(1)));
        keys.Add(2, new SecretBytes(32, bytes => bytes.Fill(2)));
        RowAuthenticator authenticator = new(keys, [1], 1);
        foreach (SetState? pending in new SetState?[] { null, new SetState(8, Root(8)) })
        {
            AnchorRecord record = Anchor(pending);
            byte[] bytes = record.Encode(authenticator);
            var read = AnchorRecord.Decode(bytes, authenticator);
            Assert.NotNull(read);
            Assert.Equal(bytes, read.Encode(authenticator));
            Assert.Equal(pending?.Epoch, read.Pending?.Epoch);
            for (int bit = 0; bit < bytes.Length * 8; bit++)
            {
                byte[] changed = [.. bytes];
                changed[bit / 8] ^= (byte)(1 << (bit % 8));
                Assert.Null(AnchorRecord.Decode(changed, authenticator));
            }

            for (int length = 0; length < bytes.Length; length++)
            {
                Assert.Null(AnchorRecord.Decode(bytes.AsSpan(0, length), authenticator));
            }

            Assert.Null(AnchorRecord.Decode([.. bytes, 0], authenticator));
            Assert.Null(AnchorRecord.Decode(bytes, new RowAuthenticator(keys, [2], 1)));
        }
    }

    private static AnchorVerdict Judge(long epoch, byte set, AnchorRecord? anchor) => AnchorPolicy.Judge(
        s_lineage, new SetState(epoch, Root(set)), sequence => sequence == 17 ? s_link : null, anchor);

    private static AnchorRecord Anchor(SetState? pending) =>
        new(3, 1, s_lineage, new SetState(5, Root(5)), pending, new HistoryHead(17, s_link));

    private static byte[] Root(byte of) => SHA256.HashData([of]);
}
