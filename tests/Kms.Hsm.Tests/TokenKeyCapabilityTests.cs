using Net.Pkcs11Interop.Common;

namespace Kms.Hsm.Tests;

public sealed class TokenKeyCapabilityTests
{
    private static readonly TokenKeyType[] s_types = [TokenKeyType.Aes256, TokenKeyType.Rsa2048, TokenKeyType.EcdsaP256];

    [Fact]
    public void SoftHSM_lacks_nothing()
    {
        using Token token = SoftHsm.Open();
        Assert.All(s_types, type => Assert.Null(token.FindMissing(type)));
        _ = Assert.Throws<ArgumentOutOfRangeException>(() => token.FindMissing(TokenKeyType.None));
    }

    [Theory]
    [InlineData(CKM.CKM_RSA_X_509, TokenKeyType.Rsa2048)]
    [InlineData(CKM.CKM_RSA_PKCS_PSS, TokenKeyType.Rsa2048)]
    [InlineData(CKM.CKM_RSA_PKCS, TokenKeyType.Rsa2048)]
    [InlineData(CKM.CKM_RSA_PKCS_KEY_PAIR_GEN, TokenKeyType.Rsa2048)]
    [InlineData(CKM.CKM_AES_KEY_WRAP_PAD, TokenKeyType.Rsa2048, TokenKeyType.EcdsaP256)]
    [InlineData(CKM.CKM_EC_KEY_PAIR_GEN, TokenKeyType.EcdsaP256)]
    [InlineData(CKM.CKM_ECDSA, TokenKeyType.EcdsaP256)]
    public void A_mechanism_that_is_missing_is_named_for_the_types_that_need_it_and_for_no_other(
        CKM mechanism, params TokenKeyType[] concerned)
    {
        using LimitedModule module = new();
        using Token token = SoftHsm.Open();
        int before = TokenSessions.CountObjects(token);
        foreach (CKR refusal in new[] { CKR.CKR_MECHANISM_INVALID, CKR.CKR_ARGUMENTS_BAD })
        {
            LimitedModule.Lack(mechanism, refusal);
            Assert.All(s_types, type => Assert.Equal(concerned.Contains(type) ? mechanism.ToString() : null, token.FindMissing(type)));
        }

        Assert.Equal(before, TokenSessions.CountObjects(token));
    }

    [Fact]
    public void A_token_that_is_away_lacks_nothing_but_is_away()
    {
        using LimitedModule module = new();
        using Token token = SoftHsm.Open();
        LimitedModule.Lack(CKM.CKM_RSA_X_509, CKR.CKR_DEVICE_ERROR);
        Assert.Equal(TokenFault.Unavailable, Assert.Throws<TokenException>(() => token.FindMissing(TokenKeyType.Rsa2048)).Fault);
    }

    [Fact]
    public void A_token_whose_unwrapped_keys_can_be_extracted_holds_none()
    {
        using LimitedModule module = new();
        using Token token = SoftHsm.Open();
        RootGenerationDescriptor descriptor = token.CreateGeneration(1, SoftHsm.InstanceId);
        RootGeneration root = token.OpenGeneration(descriptor);
        root.GenerateKey(TokenKeyType.Aes256, out WrappedKey wrapped).Dispose();
        int before = TokenSessions.CountObjects(token);
        LimitedModule.MakeKeysReadable();
        TokenException refusal = Assert.Throws<TokenException>(
            () => root.UnwrapKey(TokenKeyType.Aes256, wrapped.Blob, wrapped.Mechanism).Dispose());
        Assert.Equal(TokenFault.Unsupported, refusal.Fault);
        Assert.Contains("CKA_EXTRACTABLE", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(before, TokenSessions.CountObjects(token));
        Assert.All(s_types, type => Assert.NotNull(token.FindMissing(type)));
        token.DestroyGeneration(descriptor);
    }

    [Theory]
    [InlineData(TokenKeyType.Rsa2048, CKM.CKM_AES_KEY_WRAP_PAD)]
    [InlineData(TokenKeyType.EcdsaP256, CKM.CKM_ECDSA)]
    public void A_key_that_could_not_be_wrapped_or_used_does_not_stay(TokenKeyType type, CKM mechanism)
    {
        using LimitedModule module = new();
        using Token token = SoftHsm.Open();
        RootGenerationDescriptor descriptor = token.CreateGeneration(1, SoftHsm.InstanceId);
        RootGeneration root = token.OpenGeneration(descriptor);
        int before = TokenSessions.CountObjects(token);
        LimitedModule.Lack(mechanism);
        TokenException refusal = Assert.Throws<TokenException>(() => root.GenerateKey(type, out _).Dispose());
        Assert.Equal(TokenFault.Unsupported, refusal.Fault);
        Assert.Equal(before, TokenSessions.CountObjects(token));
        token.DestroyGeneration(descriptor);
    }
}
