using Kms.Client.Protocol;
using Kmsd.Keys;

namespace Kmsd.Tests.Keys;

public sealed class KeyReferenceTests
{
    private const string Tag = "0123456789abcdef0123456789abcdef";

    [Fact]
    public void A_key_is_named_by_its_tag_by_store_and_name_or_by_a_name_in_default()
    {
        Assert.Equal(KeyTag.Parse(Tag), KeyReference.Parse(Tag).Tag);
        Assert.Equal(("customer", "key-1"), (KeyReference.Parse("customer/key-1").Store, KeyReference.Parse("customer/key-1").Name));
        Assert.Equal(("default", "key-1"), (KeyReference.Parse("key-1").Store, KeyReference.Parse("key-1").Name));
        Assert.Null(KeyReference.Parse("key-1").Tag);
    }

    [Theory]
    [InlineData("")]
    [InlineData("/")]
    [InlineData("/key")]
    [InlineData("store/")]
    [InlineData("store/key/more")]
    [InlineData("store/" + Tag)]
    [InlineData(Tag + "/key")]
    [InlineData("ab")]
    [InlineData("st/key")]
    [InlineData("store / key")]
    [InlineData(" key")]
    public void Anything_else_is_refused(string text) =>
        Assert.Equal(KmsErrorCode.InvalidParams, Assert.Throws<KmsException>(() => KeyReference.Parse(text)).Code);

    /// <summary>docs/api.md, "Names": 3–64 of A–Z a–z 0–9 - _, starts with a letter, never of the form of a tag.</summary>
    [Theory]
    [InlineData("abc", true)]
    [InlineData("ab", false)]
    [InlineData("A-_", true)]
    [InlineData("1ab", false)]
    [InlineData("-ab", false)]
    [InlineData("_ab", false)]
    [InlineData("a.b", false)]
    [InlineData("a b", false)]
    [InlineData("äbc", false)]
    [InlineData("abc\n", false)]
    [InlineData("abc\0", false)]
    [InlineData("abcdef0123456789abcdef0123456789", false)]
    [InlineData("abcdef0123456789abcdef012345678", true)]
    [InlineData("abcdef0123456789abcdef0123456789a", true)]
    [InlineData("Abcdef0123456789abcdef0123456789", true)]
    public void A_name_has_the_form_of_the_contract(string text, bool isName) => Assert.Equal(isName, ResourceName.IsValid(text));

    [Fact]
    public void A_name_has_at_most_sixty_four_characters()
    {
        Assert.True(ResourceName.IsValid(new string('x', 64)));
        Assert.False(ResourceName.IsValid(new string('x', 65)));
    }
}
