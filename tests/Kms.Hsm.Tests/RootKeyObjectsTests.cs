using System.Security.Cryptography;
using Net.Pkcs11Interop.Common;
using Net.Pkcs11Interop.LowLevelAPI80;

namespace Kms.Hsm.Tests;

public sealed class RootKeyObjectsTests : IDisposable
{
    private Token _token = SoftHsm.Open();
    private readonly RootGenerationDescriptor _descriptor;

    public RootKeyObjectsTests() => _descriptor = _token.CreateGeneration(1, SoftHsm.InstanceId);

    public void Dispose()
    {
        try
        {
            _token.DestroyGeneration(_descriptor);
        }
        finally
        {
            _token.Dispose();
        }
    }

    [Fact]
    public void A_generation_opens_as_what_it_was_made()
    {
        Assert.Equal(1u, _token.OpenGeneration(_descriptor).Number);
        Assert.Equal(SoftHsm.InstanceId, _descriptor.InstanceId);
        Assert.Equal("CKM_AES_GCM", _descriptor.SealMechanism);
        Assert.Equal("CKM_AES_KEY_WRAP", _descriptor.WrapMechanism);
        Assert.Equal(_token.Description.Family, _descriptor.TokenFamily);
        Assert.Equal(40, _descriptor.WrapCheck.Length);
        Assert.Equal(32, _descriptor.MacCheck.Length);
        byte[][] ids = [_descriptor.WrapKeyId, _descriptor.SealKeyId, _descriptor.MacKeyId];
        Assert.All(ids, id => Assert.Equal(16, id.Length));
        Assert.Equal(3, ids.Select(Convert.ToHexString).Distinct().Count());
    }

    [Fact]
    public void Its_keys_are_found_by_label_until_they_are_destroyed()
    {
        Assert.Equal(["kmsd-root-mac-1-01020304", "kmsd-root-seal-1-01020304", "kmsd-root-wrap-1-01020304"], _token.FindRootObjects());
        _token.DestroyGeneration(_descriptor);
        Assert.Empty(_token.FindRootObjects());
        _token.DestroyGeneration(_descriptor);
    }

    [Theory]
    [InlineData(RootRole.Wrap)]
    [InlineData(RootRole.Seal)]
    [InlineData(RootRole.Mac)]
    public void A_key_may_do_its_one_thing_and_cannot_leave_change_or_be_copied(RootRole role)
    {
        CKA[] uses = PlantedKey.UsesOf(role);
        CKA[] on = [CKA.CKA_TOKEN, CKA.CKA_PRIVATE, CKA.CKA_SENSITIVE, CKA.CKA_ALWAYS_SENSITIVE, CKA.CKA_NEVER_EXTRACTABLE, CKA.CKA_LOCAL, .. uses];
        CKA[] off =
        [
            CKA.CKA_EXTRACTABLE, CKA.CKA_MODIFIABLE, CKA.CKA_COPYABLE,
            .. new[] { CKA.CKA_WRAP, CKA.CKA_UNWRAP, CKA.CKA_ENCRYPT, CKA.CKA_DECRYPT, CKA.CKA_SIGN, CKA.CKA_VERIFY, CKA.CKA_DERIVE }
                .Except(uses),
        ];
        ulong key = PlantedKey.Find(_token, PlantedKey.IdOf(_descriptor, role));
        _token.Operate(session =>
        {
            Assert.All(on, attribute => Assert.Equal([1], _token.Module.Attribute(session, key, attribute)));
            Assert.All(off, attribute => Assert.Equal([0], _token.Module.Attribute(session, key, attribute)));
            Assert.Null(_token.Module.Attribute(session, key, CKA.CKA_VALUE));
            return true;
        });
    }

    [Theory]
    [InlineData(RootRole.Wrap, CKA.CKA_DECRYPT)]
    [InlineData(RootRole.Seal, CKA.CKA_UNWRAP)]
    [InlineData(RootRole.Mac, CKA.CKA_DERIVE)]
    [InlineData(RootRole.Wrap, CKA.CKA_EXTRACTABLE)]
    public unsafe void A_key_is_not_given_another_use_afterwards(RootRole role, CKA attribute)
    {
        ulong key = PlantedKey.Find(_token, PlantedKey.IdOf(_descriptor, role));
        using Pkcs11Library library = new(SoftHsm.ModulePath, useGetFunctionList: true);
        CKR result = TokenSessions.Change(_token, (_, session) =>
        {
            byte on = 1;
            CK_ATTRIBUTE[] template = [new() { type = (ulong)attribute, value = (nint)(&on), valueLen = 1 }];
            return library.C_SetAttributeValue(session, key, template, 1);
        });
        Assert.NotEqual(CKR.CKR_OK, result);
        Assert.NotEqual([1], _token.Operate(session => _token.Module.Attribute(session, key, attribute)));
    }

    [Fact]
    public void A_key_is_not_copied()
    {
        ulong key = PlantedKey.Find(_token, _descriptor.SealKeyId);
        using Pkcs11Library library = new(SoftHsm.ModulePath, useGetFunctionList: true);
        ulong copy = 0;
        CKR result = TokenSessions.Change(_token, (_, session) => library.C_CopyObject(session, key, [], 0, ref copy));
        Assert.NotEqual(CKR.CKR_OK, result);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Half_a_generation_never_stays(int failing)
    {
        using FaultyModule module = new();
        _token.DestroyGeneration(_descriptor);
        Reopen(SoftHsm.Label);
        FaultyModule.FailKey(failing);
        TokenException refusal = Assert.Throws<TokenException>(() => _token.CreateGeneration(1, SoftHsm.InstanceId));
        Assert.Equal("C_GenerateKey", Assert.IsType<Pkcs11Exception>(refusal.InnerException).Function);
        Assert.Equal(failing, FaultyModule.GeneratedKeys);
        Assert.Empty(_token.FindRootObjects());
    }

    [Fact]
    public void A_generation_whose_check_value_cannot_be_made_does_not_stay()
    {
        using FaultyModule module = new();
        _token.DestroyGeneration(_descriptor);
        Reopen(SoftHsm.Label);
        FaultyModule.FailNextEncryption();
        _ = Assert.Throws<TokenException>(() => _token.CreateGeneration(1, SoftHsm.InstanceId));
        Assert.Empty(_token.FindRootObjects());
    }

    [Fact]
    public void A_generation_has_a_number_from_one() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => _token.CreateGeneration(0, SoftHsm.InstanceId));

    [Theory]
    [InlineData(RootRole.Wrap)]
    [InlineData(RootRole.Seal)]
    [InlineData(RootRole.Mac)]
    public void A_generation_that_lacks_one_key_is_missing(RootRole role)
    {
        ulong key = PlantedKey.Find(_token, PlantedKey.IdOf(_descriptor, role));
        TokenSessions.Change(_token, (module, session) =>
        {
            module.DestroyObject(session, key);
            return true;
        });
        _ = Refused(TokenFault.RootKeyMissing, _descriptor);
    }

    [Fact]
    public void A_generation_of_another_token_is_missing()
    {
        Reopen(SoftHsm.OtherLabel);
        Assert.EndsWith("they bring it back: kmsd root restore", Refused(TokenFault.RootKeyMissing, _descriptor).Message, StringComparison.Ordinal);
        Reopen(SoftHsm.Label);
        Assert.Equal(1u, _token.OpenGeneration(_descriptor).Number);
    }

    [Theory]
    [InlineData(RootRole.Wrap)]
    [InlineData(RootRole.Seal)]
    [InlineData(RootRole.Mac)]
    public void A_key_put_in_its_place_under_its_name_and_id_is_found_out(RootRole role)
    {
        using var planted = PlantedKey.InPlaceOf(_token, _descriptor, role, RandomNumberGenerator.GetBytes(32));
        _ = Refused(TokenFault.RootKeyMismatch, _descriptor);
    }

    [Theory]
    [InlineData(RootRole.Wrap)]
    [InlineData(RootRole.Seal)]
    [InlineData(RootRole.Mac)]
    public void Two_keys_under_one_name_and_id_are_ambiguous(RootRole role)
    {
        using var planted = PlantedKey.Beside(_token, _descriptor, role, RandomNumberGenerator.GetBytes(32));
        _ = Refused(TokenFault.RootKeyAmbiguous, _descriptor);
    }

    [Theory]
    [InlineData(RootRole.Mac, CKA.CKA_EXTRACTABLE)]
    [InlineData(RootRole.Mac, CKA.CKA_SENSITIVE)]
    [InlineData(RootRole.Mac, CKA.CKA_MODIFIABLE)]
    [InlineData(RootRole.Mac, CKA.CKA_COPYABLE)]
    [InlineData(RootRole.Mac, CKA.CKA_ENCRYPT)]
    [InlineData(RootRole.Mac, CKA.CKA_VERIFY)]
    [InlineData(RootRole.Seal, CKA.CKA_UNWRAP)]
    [InlineData(RootRole.Wrap, CKA.CKA_DECRYPT)]
    public void A_key_that_is_not_protected_as_asked_is_refused(RootRole role, CKA attribute)
    {
        using var planted =
            PlantedKey.InPlaceOf(_token, _descriptor, role, RandomNumberGenerator.GetBytes(32), wrong: attribute);
        TokenException refusal = Refused(TokenFault.RootKeyMismatch, _descriptor);
        Assert.Contains(attribute.ToString(), refusal.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_check_value_that_is_not_reproduced_is_a_mismatch()
    {
        RootGenerationDescriptor[] changed =
        [
            _descriptor with { WrapCheck = Changed(_descriptor.WrapCheck) },
            _descriptor with { SealCheck = Changed(_descriptor.SealCheck) },
            _descriptor with { MacCheck = Changed(_descriptor.MacCheck) },
            _descriptor with { SealCheck = [] },
            _descriptor with { MacCheck = [] },
        ];
        Assert.All(changed, descriptor => Refused(TokenFault.RootKeyMismatch, descriptor));
        Assert.Equal(1u, _token.OpenGeneration(_descriptor).Number);
    }

    [Fact]
    public void Ids_instance_and_number_are_looked_for_exactly()
    {
        RootGenerationDescriptor[] changed =
        [
            _descriptor with { MacKeyId = _descriptor.SealKeyId },
            _descriptor with { WrapKeyId = Changed(_descriptor.WrapKeyId) },
            _descriptor with { Number = 2 },
            _descriptor with { InstanceId = [.. SoftHsm.InstanceId.Reverse()] },
        ];
        Assert.All(changed, descriptor => Refused(TokenFault.RootKeyMissing, descriptor));
    }

    [Fact]
    public void Mechanisms_of_a_later_version_are_unsupported()
    {
        _ = Refused(TokenFault.Unsupported, _descriptor with { SealMechanism = "CKM_AES_CBC" });
        _ = Refused(TokenFault.Unsupported, _descriptor with { WrapMechanism = "CKM_AES_KEY_WRAP_PAD" });
    }

    private void Reopen(string label)
    {
        _token.Dispose();
        _token = SoftHsm.Open(label);
    }

    private TokenException Refused(TokenFault fault, RootGenerationDescriptor descriptor)
    {
        TokenException refusal = Assert.Throws<TokenException>(() => _token.OpenGeneration(descriptor));
        Assert.Equal(fault, refusal.Fault);
        return refusal;
    }

    private static byte[] Changed(byte[] bytes) => [(byte)(bytes[0] ^ 1), .. bytes[1..]];
}
