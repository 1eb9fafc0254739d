namespace Kms.Hsm.Tests;

public sealed class TokenDataTests : IDisposable
{
    private const string Label = "kmsd-test-data";

    private readonly Token _token = SoftHsm.Open();

    public void Dispose()
    {
        try
        {
            _token.DestroyData(Label);
        }
        finally
        {
            _token.Dispose();
        }
    }

    [Fact]
    public void A_value_stands_alone_until_the_next_replaces_it()
    {
        Assert.Empty(_token.ReadData(Label));
        _token.ReplaceData(Label, [1, 2, 3]);
        Assert.Equal([1, 2, 3], Assert.Single(_token.ReadData(Label)));
        _token.ReplaceData(Label, [4]);
        Assert.Equal([4], Assert.Single(_token.ReadData(Label)));
        _token.DestroyData(Label);
        Assert.Empty(_token.ReadData(Label));
    }

    [Fact]
    public void It_is_as_long_as_1024_bytes_and_no_longer()
    {
        byte[] longest = [.. Enumerable.Range(0, 1024).Select(i => (byte)(i % 256))];
        _token.ReplaceData(Label, longest);
        Assert.Equal(longest, Assert.Single(_token.ReadData(Label)));
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => _token.ReplaceData(Label, new byte[1025]));
        Assert.Equal(longest, Assert.Single(_token.ReadData(Label)));
    }

    [Fact]
    public void Values_of_different_labels_do_not_touch_each_other()
    {
        _token.ReplaceData(Label, [7]);
        Assert.Empty(_token.ReadData(Label + "-2"));
        _token.ReplaceData(Label + "-2", [8]);
        _token.DestroyData(Label + "-2");
        Assert.Equal([7], Assert.Single(_token.ReadData(Label)));
    }

    [Fact]
    public void Keys_are_found_beside_it_as_before()
    {
        _token.ReplaceData(Label, [7]);
        Assert.Empty(_token.FindRootObjects());
    }
}
