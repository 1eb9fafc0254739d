using Kmsd.Keys;

namespace Kmsd.Tests.Keys;

public sealed class CiphertextTests
{
    [Theory]
    [InlineData("kms:v1:", 1, 0)]
    [InlineData("kms:v1:AAAA", 1, 3)]
    [InlineData("kms:v10:AAA=", 10, 2)]
    [InlineData("kms:v9999999999:AA==", 9_999_999_999, 1)]
    [InlineData("kms:v2:+/+/", 2, 3)]
    public void It_is_read_and_written_alike(string text, long version, int length)
    {
        Assert.True(Ciphertext.TryParse(text, out Ciphertext ciphertext));
        Assert.Equal((version, length), (ciphertext.Version, ciphertext.Payload.Length));
        Assert.Equal(text, ciphertext.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("kms:v1")]
    [InlineData("kms:v:AAAA")]
    [InlineData("kms:v0:AAAA")]
    [InlineData("kms:v01:AAAA")]
    [InlineData("kms:v-1:AAAA")]
    [InlineData("kms:v+1:AAAA")]
    [InlineData("kms:v 1:AAAA")]
    [InlineData("kms:v1 :AAAA")]
    [InlineData("kms:v10000000000:AAAA")]
    [InlineData("KMS:v1:AAAA")]
    [InlineData("kms:V1:AAAA")]
    [InlineData(" kms:v1:AAAA")]
    [InlineData("kms:v1:AAA")]
    [InlineData("kms:v1:AAB=")]
    [InlineData("kms:v1:AB==")]
    [InlineData("kms:v1:A===")]
    [InlineData("kms:v1:AAAA\n")]
    [InlineData("kms:v1:AA A")]
    [InlineData("kms:v1:AA  AA  ")]
    [InlineData("kms:v1:-_-_")]
    [InlineData("kms:v1:AAAA:")]
    [InlineData("kms:v1:AA==AAAA")]
    public void It_has_exactly_one_spelling(string text) => Assert.False(Ciphertext.TryParse(text, out _));
}
