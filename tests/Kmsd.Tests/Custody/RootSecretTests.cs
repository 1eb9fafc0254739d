using System.Security.Cryptography;
using Kms.Hsm;
using Kmsd.Custody;

namespace Kmsd.Tests.Custody;

public sealed class RootSecretTests
{
    [Fact]
    public void Keys_and_check_follow_from_the_secret_by_HKDF_with_a_label_each()
    {
        using RootSecret secret = Draw(fill: 1, out byte[] bytes);
        Assert.Equal(HKDF.Expand(HashAlgorithmName.SHA256, bytes, 8, "kms/v1/check"u8.ToArray()), secret.Check());
        Assert.Equal(32, bytes.Length);
    }

    [Fact]
    public void The_secret_is_drawn_from_the_kernel_too()
    {
        using RootSecret one = Draw(fill: 7, out byte[] first);
        using RootSecret other = Draw(fill: 7, out byte[] second);
        Assert.NotEqual(first, second);
        Assert.False(one.IsSameAs(other));
        Assert.True(one.IsSameAs(one));
    }

    [Fact]
    public void The_token_is_asked_and_what_it_throws_passes_on()
    {
        int asked = 0;
        _ = Assert.Throws<InvalidOperationException>(() => RootSecret.Draw(random =>
        {
            asked = random.Length;
            throw new InvalidOperationException("The token is away.");
        }));
        Assert.Equal(64, asked);
    }

    [Theory]
    [InlineData(3, 2)]
    [InlineData(5, 3)]
    [InlineData(2, 2)]
    public void Every_quorum_of_its_shares_gives_it_back(int count, int threshold)
    {
        using RootSecret secret = Draw(fill: 3, out _);
        Slip39Share[] shares = Slip39.Split(secret.Bytes, threshold, count, 0x7c3e);
        try
        {
            int[][] quorums = [.. Quorums.Of(count, threshold)];
            Assert.Equal(Choose(count, threshold), quorums.Length);
            foreach (int[] quorum in quorums)
            {
                using var rebuilt = RootSecret.Combine([.. quorum.Select(place => shares[place])]);
                Assert.True(rebuilt.IsSameAs(secret));
                Assert.Equal(secret.Check(), rebuilt.Check());
            }
        }
        finally
        {
            Slip39.DisposeAll(shares);
        }
    }

    [Fact]
    public void Shares_of_something_else_are_no_root_secret()
    {
        using SecretBytes small = new(16, RandomNumberGenerator.Fill);
        Slip39Share[] shares = Slip39.Split(small, 2, 2, 1);
        try
        {
            Assert.Contains("of a secret of 16 bytes", Assert.Throws<ShareException>(() => RootSecret.Combine(shares)).Message, StringComparison.Ordinal);
        }
        finally
        {
            Slip39.DisposeAll(shares);
        }
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 2)]
    [InlineData(16, 2)]
    [InlineData(6, 3)]
    public void Quorums_are_all_choices_and_each_is_another(int count, int threshold)
    {
        string[] all = [.. Quorums.Of(count, threshold).Select(quorum => string.Join(' ', quorum))];
        Assert.Equal(Choose(count, threshold), all.Distinct().Count());
        Assert.All(Quorums.Of(count, threshold), quorum => Assert.Equal(quorum.Distinct().Order(), quorum));
    }

    [Theory]
    [InlineData(3, 2, false, null)]
    [InlineData(16, 15, false, null)]
    [InlineData(2, 2, true, null)]
    [InlineData(2, 2, false, "--no-spare")]
    [InlineData(17, 2, false, "2 to 16")]
    [InlineData(1, 1, true, "2 to 16")]
    [InlineData(3, 1, false, "at least 2")]
    [InlineData(3, 4, true, "no more than")]
    public void A_split_that_makes_no_sense_is_refused(int count, int threshold, bool allowsNoSpare, string? refusal)
    {
        string? found = new SplitRules(count, threshold, AcceptsSame: false).Refusal(allowsNoSpare);
        Assert.Equal(refusal is null, found is null);
        Assert.Contains(refusal ?? "", found ?? "", StringComparison.Ordinal);
    }

    private static RootSecret Draw(byte fill, out byte[] bytes)
    {
        var secret = RootSecret.Draw(random => random.Fill(fill));
        using SecretLease lease = secret.Bytes.Open();
        bytes = lease.Bytes.ToArray();
        return secret;
    }

    private static int Choose(int count, int threshold)
    {
        int choices = 1;
        for (int i = 1; i <= threshold; i++)
        {
            choices = choices * (count - threshold + i) / i;
        }

        return choices;
    }
}
