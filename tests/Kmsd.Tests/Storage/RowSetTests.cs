using System.Globalization;
using CsCheck;
using Kms.Hsm;
using Kmsd.Storage;

namespace Kmsd.Tests.Storage;

public sealed class RowSetTests : IDisposable
{
    private readonly GenerationKeys _keys = new();
    private readonly RowAuthenticator _authenticator;

    public RowSetTests()
    {
        _keys.Add(1, new SecretBytes(32, bytes => bytes.Fill(1)));
        _authenticator = new RowAuthenticator(_keys, [1], 1);
    }

    public void Dispose() => _keys.Dispose();

    [Fact]
    public void The_root_is_that_of_the_rows_whatever_way_led_there() => Gen.Select(Gen.Int[0, 300], Gen.Int[0, 2]).Array[0, 60].Sample(
        steps =>
        {
            Dictionary<int, int> rows = [];
            RowSet set = new(_authenticator);
            foreach ((int id, int value) in steps)
            {
                if (value == 0 && rows.Remove(id))
                {
                    set.Remove(Row(id, 0));
                }
                else
                {
                    rows[id] = value;
                    _ = set.Put(Row(id, value));
                }
            }

            RowSet direct = new(_authenticator);
            foreach ((int id, int value) in rows.OrderByDescending(row => row.Key))
            {
                _ = direct.Put(Row(id, value));
            }

            Assert.Equal(Root(direct), Root(set));
        },
        iter: 200,
        threads: 1);

    [Fact]
    public void Every_row_added_changed_or_removed_changes_the_root()
    {
        RowSet set = new(_authenticator);
        HashSet<string> seen = [Root(set)];
        for (int i = 0; i < 500; i++)
        {
            _ = set.Put(Row(i, 1));
            Assert.True(seen.Add(Root(set)));
        }

        _ = set.Put(Row(77, 2));
        Assert.True(seen.Add(Root(set)));
        set.Remove(Row(78, 0));
        Assert.True(seen.Add(Root(set)));
        _ = set.Put(Row(78, 1));
        _ = set.Put(Row(77, 1));
        Assert.False(seen.Add(Root(set)));
    }

    [Fact]
    public void A_refused_change_and_a_batch_that_is_not_committed_leave_no_trace()
    {
        RowSet set = new(_authenticator);
        _ = set.Put(Row(1, 1));
        set.Flush(isFull: true);
        set.Commit();
        SetState committed = set.Committed;
        Assert.Equal(1, committed.Epoch);

        _ = set.Put(Row(2, 1));
        set.Mark();
        _ = set.Put(Row(1, 2));
        set.Remove(Row(2, 0));
        set.ReturnToMark();
        set.Flush(isFull: true);
        Assert.Equal(2, set.Staged.Epoch);
        set.Rollback();
        Assert.Equal(committed, set.Staged);
        set.Flush(isFull: true);
        Assert.Equal(committed, set.Staged);

        // An epoch that was announced isn't used again.
        _ = set.Put(Row(2, 1));
        set.Flush(isFull: true);
        Assert.Equal(3, set.Staged.Epoch);
        set.Commit();
        RowSet direct = new(_authenticator);
        _ = direct.Put(Row(1, 1));
        _ = direct.Put(Row(2, 1));
        Assert.Equal(Root(direct), Convert.ToHexString(set.Committed.Root));
    }

    [Fact]
    public void A_row_that_is_not_there_cannot_be_removed()
    {
        RowSet set = new(_authenticator);
        _ = set.Put(Row(1, 1));
        _ = Assert.Throws<InvalidOperationException>(() => set.Remove(Row(2, 1)));
        _ = Assert.Throws<ArgumentException>(() => set.Put(_authenticator.Row("t").Add(1L)));
    }

    private static string Root(RowSet set)
    {
        set.Flush(isFull: true);
        return Convert.ToHexString(set.Staged.Root);
    }

    private RowEncoding Row(int id, int value) =>
        _authenticator.Row("t").Add(id.ToString(CultureInfo.InvariantCulture)).EndId().Add((long)value);
}
