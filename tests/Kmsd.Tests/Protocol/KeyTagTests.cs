using Kms.Client.Protocol;

namespace Kmsd.Tests.Protocol;

public sealed class KeyTagTests
{
    private const string Text = "0123456789abcdef0123456789abcdef";

    [Fact]
    public void A_tag_is_read_and_written_alike()
    {
        Assert.True(KeyTag.TryParse(Text, out KeyTag tag));
        Assert.Equal(Text, tag.Text);
        Assert.Equal(Text, tag.ToString());
        Assert.Equal(tag, KeyTag.FromBytes(tag.ToBytes()));
        Assert.Equal(KeyTag.LengthInBytes, tag.ToBytes().Length);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("0123456789abcdef0123456789abcde")]
    [InlineData("0123456789abcdef0123456789abcdef0")]
    [InlineData("0123456789ABCDEF0123456789abcdef")]
    [InlineData("0123456789abcdeg0123456789abcdef")]
    [InlineData("0123456789abcdef 123456789abcdef")]
    [InlineData("٠123456789abcdef0123456789abcdef")]
    public void Anything_else_is_no_tag(string? text)
    {
        Assert.False(KeyTag.TryParse(text, out KeyTag tag));
        Assert.Equal(default, tag);
        _ = Assert.Throws<FormatException>(() => KeyTag.Parse(text!));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(15)]
    [InlineData(17)]
    public void Sixteen_bytes_make_a_tag(int length) =>
        Assert.Throws<ArgumentException>(() => KeyTag.FromBytes(new byte[length]));

    [Fact]
    public void A_new_tag_is_a_tag_and_none_comes_twice()
    {
        HashSet<KeyTag> tags = [.. Enumerable.Range(0, 1000).Select(_ => KeyTag.New())];
        Assert.Equal(1000, tags.Count);
        Assert.All(tags, tag => Assert.True(KeyTag.TryParse(tag.Text, out _)));
    }

    [Fact]
    public void A_tag_that_was_never_set_has_no_text_but_may_stand_in_a_log()
    {
        _ = Assert.Throws<InvalidOperationException>(() => default(KeyTag).Text);
        Assert.Equal("(no tag)", default(KeyTag).ToString());
    }
}
