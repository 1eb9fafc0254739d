using Kms.Client.Protocol;

namespace Kmsd.Tests.Protocol;

public sealed class WireTests
{
    [Fact]
    public void Every_member_of_every_enumeration_has_one_name_and_is_read_back_by_it()
    {
        Complete(Wire.KeyTypes);
        Complete(Wire.Protections);
        Complete(Wire.KeyStates);
        Complete(Wire.KeyRoles);
        Complete(Wire.StoreRoles);
    }

    /// <summary>docs/api.md, "Names".</summary>
    [Fact]
    public void The_names_are_those_of_the_contract()
    {
        Assert.Equal(["AES256-GCM96", "RSA-2048", "ECDSA-P256"], Wire.KeyTypes.All);
        Assert.Equal(["software", "hsm"], Wire.Protections.All);
        Assert.Equal(["enabled", "disabled", "pendingDeletion", "deleted"], Wire.KeyStates.All);
        Assert.Equal(["manager", "encryptor", "decryptor", "encryptorDecryptor", "reviewer"], Wire.KeyRoles.All);
        Assert.Equal(["manager", "user"], Wire.StoreRoles.All);
    }

    /// <summary>docs/api.md, "Errors": every row of the table.</summary>
    [Theory]
    [InlineData(-32700, "parseError")]
    [InlineData(-32600, "invalidRequest")]
    [InlineData(-32601, "methodNotFound")]
    [InlineData(-32602, "invalidParams")]
    [InlineData(-32603, "internal")]
    [InlineData(-32800, "cancelled")]
    [InlineData(1, "notFound")]
    [InlineData(2, "forbidden")]
    [InlineData(3, "invalidState")]
    [InlineData(4, "alreadyExists")]
    [InlineData(5, "tooLarge")]
    [InlineData(6, "invalidCiphertext")]
    [InlineData(7, "confirmationRequired")]
    [InlineData(8, "limitExceeded")]
    [InlineData(9, "tokenUnavailable")]
    [InlineData(10, "storageUnavailable")]
    [InlineData(11, "integrityFailure")]
    [InlineData(12, "unsupported")]
    public void An_error_has_the_number_and_the_reason_of_the_contract(int number, string reason)
    {
        Assert.Equal(reason, ((KmsErrorCode)number).ToReason());
        Assert.True(KmsErrorReasons.TryParse(reason, out KmsErrorCode code));
        Assert.Equal((KmsErrorCode)number, code);
    }

    [Fact]
    public void There_are_no_other_errors()
    {
        Assert.Equal(19, Enum.GetValues<KmsErrorCode>().Length);
        Assert.False(KmsErrorReasons.TryParse("NotFound", out _));
        Assert.False(KmsErrorReasons.TryParse(null, out _));
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => KmsErrorCode.None.ToReason());
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => ((KmsErrorCode)13).ToReason());
    }

    private static void Complete<T>(WireNames<T> names)
        where T : struct, Enum
    {
        T[] members = [.. Enum.GetValues<T>().Where(member => !member.Equals(default(T)))];
        Assert.Equal(members.Length, names.All.Distinct().Count());
        foreach (T member in members)
        {
            Assert.True(names.TryParse(names[member], out T again));
            Assert.Equal(member, again);
            Assert.False(names.TryParse(names[member].ToUpperInvariant() + " ", out _));
        }

        _ = Assert.Throws<ArgumentOutOfRangeException>(() => names[default]);
        Assert.False(names.TryParse("None", out _));
        Assert.False(names.TryParse(null, out _));
    }
}
