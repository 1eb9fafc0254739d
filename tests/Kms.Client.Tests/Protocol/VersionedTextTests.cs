using Kms.Client.Protocol;

namespace Kms.Client.Tests.Protocol;

public sealed class VersionedTextTests
{
    [Theory]
    [InlineData("kms:v1:", 1, "")]
    [InlineData("kms:v12:AQI=", 12, "0102")]
    [InlineData("kms:v9223372036854775807:AQID", long.MaxValue, "010203")]
    public void What_has_the_form_is_read_and_written_back(string text, long version, string payload)
    {
        Assert.True(VersionedText.TryRead(text, out long read, out byte[]? bytes));
        Assert.Equal((version, payload), (read, Convert.ToHexString(bytes)));
        Assert.Equal(text, VersionedText.Format(read, bytes));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("kms:v")]
    [InlineData("kms:v:AAAA")]
    [InlineData("kms:v0:AAAA")]
    [InlineData("kms:v01:AAAA")]
    [InlineData("kms:v-1:AAAA")]
    [InlineData("kms:v+1:AAAA")]
    [InlineData("kms:v 1:AAAA")]
    [InlineData("kms:v9223372036854775808:AAAA")]
    [InlineData("kms:v1AAAA")]
    [InlineData("KMS:v1:AAAA")]
    [InlineData(" kms:v1:AAAA")]
    [InlineData("kms:v1:AAA")]
    [InlineData("kms:v1:AAAA ")]
    [InlineData("kms:v1:AA AA")]
    [InlineData("kms:v1:AAB=")]
    [InlineData("kms:v1:A===")]
    [InlineData("kms:v1:AA==AA==")]
    [InlineData("kms:v1:AA-_")]
    [InlineData("kms:v1:AAAA:AAAA")]
    public void What_the_daemon_would_refuse_is_not_read(string? text) => Assert.False(VersionedText.TryRead(text, out _, out _));

    [Fact]
    public void Versions_count_from_1() => Assert.Throws<ArgumentOutOfRangeException>(() => VersionedText.Format(0, []));
}
